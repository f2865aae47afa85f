#!/bin/sh
# Times a model file on a board and prints the milliseconds of its runs, a line for each.
#   mnasnet latency build --backend command --files onnx --runner "./time_on_board.sh {model}" ...
# calls it once for each layer and network, some thousand times. Change the three marked lines: how
# the file gets there, how it is run there, and how it is taken away. What goes wrong may end it with
# any status but 0: the build then stops with the last line of stderr, and goes on when it is typed
# again.
set -eu
model=$1
board=${BOARD:-pi@raspberrypi}
there=/tmp/mnasnet-$$.${model##*.}

trap 'ssh "$board" rm -f "$there"' EXIT # 3: take it away
scp -q "$model" "$board:$there"         # 1: bring it
# 2: run it; a first run warms up and is not printed. Any program will do that prints numbers alone
# on a line, or what benchmark_model, onnxruntime_perf_test or executor_runner print.
ssh "$board" ./time_model --runs 3 "$there"

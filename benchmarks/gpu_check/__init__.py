"""The project on a GPU: is it right there, how fast is it, and what do its steps wait for?

Once, where the project is installed, in the repository's root::

    benchmarks/gpu_check/run.sh prepare .venv/bin/python

copies what a bare machine lacks (jsonargparse, and of wandb what is imported even where tracking is
off) and the commit into ``.gpu/``, which git ignores. Then, on a machine with torch, Lightning,
timm and one GPU, in a copy of the repository with ``.gpu/``::

    OUT=runs/gpu_check benchmarks/gpu_check/run.sh

takes less than 9 minutes; ``run.sh parity search_digits`` runs these parts only, and ``PYTHON``
names another interpreter than python3. Every figure is a row of ``$OUT/gpu_check.jsonl`` with the
commit, the device and its section; ``$OUT/gpu_check.log`` has what the parts printed.
``run.sh keep $OUT/gpu_check.jsonl``, in a checkout, appends the rows to
``benchmarks/results/gpu_check.jsonl``, from where ``python -m benchmarks.search_cost`` takes the
speed of a GPU. Without CUDA everything shrinks, so that the check itself can be checked
(tests/benchmarks/test_gpu_check.py); no figure of that is worth keeping.

Each part is a process of its own with a time limit, and ends with its exit status and seconds
(124: stopped at its limit); one that fails leaves the others alone, and those that no time is left
for are named. The most important come first:

- ``env``: versions, device, cores, shared memory, and what fp32 means there.
- ``parity``: logits and gradients of a slice of the supernet against the network extracted from it,
  in each precision, and against those of the CPU; bf16 and TF32 against fp32, in logits and in the
  loss of a short training.
- ``throughput``: training steps of slices, of the networks extracted from them, of warm-up paths
  and of timm's MnasNet; what the host alone takes, memory, scoring; kernels, optimizers and memory
  formats.
- ``search_224``: a search on images that cost nothing to load: what the steps themselves take.
- ``retrain``: a retraining on such images.
- ``memory``: what an image takes in steps of the largest path, of a warm-up path and of a uniform
  one, and in a retraining; the largest batch of each.
- ``images``: writes JPEG files for the others.
- ``reading``: images a second from files to the device, without training; copies of a batch.
- ``compile``: retraining's step with and without the average of the weights, cudnn.benchmark and
  torch.compile.
- ``search_files``: a search on files, which the CPUs must read and decode.
- ``search_digits``: the demo's search, whose layers are so small that the host is the limit.
- ``pytest_gpu``: the tests that need CUDA.
- ``latency_small``: a latency table of a space of a few layers, to its end.
- ``latency_table``: as many rounds of the digits' table as its limit allows.

One more section of rows, ``syncs``, comes from the three searches and the retraining: how often a
step waits for the GPU, by torch's sync debug mode, and at which lines.
"""

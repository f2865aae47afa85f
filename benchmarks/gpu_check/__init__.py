"""The project on a GPU: is it right there, how fast is it, and what do its steps wait for?

Once, where the project is installed, in the repository's root::

    benchmarks/gpu_check/run.sh prepare .venv/bin/python

copies what a bare machine lacks (jsonargparse, and of wandb what is imported even where tracking is
off) and the commit into ``.gpu/``, which git ignores. Then, on a machine with torch, Lightning,
timm and one GPU, in a copy of the repository with ``.gpu/``::

    OUT=runs/gpu_check benchmarks/gpu_check/run.sh

takes less than 8 minutes; ``run.sh parity search_digits`` runs these parts only, and ``PYTHON``
names another interpreter than python3. Every figure is a row of ``$OUT/gpu_check.jsonl`` with the
commit, the device and its section; ``$OUT/PART.log`` has what a part printed. Rows that are to be
kept are appended to ``benchmarks/results/gpu_check.jsonl`` and committed. Without CUDA everything
shrinks, so that the check itself can be checked (tests/benchmarks/test_gpu_check.py); no figure of
that is worth keeping.

Each part is a process of its own with a time limit, and ends with its exit status and seconds
(124: stopped at its limit); those that no time is left for are named:

- ``env``: versions, device and what fp32 means there.
- ``parity``: logits and gradients of a slice of the supernet against the network extracted from it,
  in each precision, and against those of the CPU.
- ``throughput``: training steps of slices, of the networks extracted from them and of timm's
  MnasNet; what the host alone takes, kernels, memory; optimizers and memory formats; scoring and
  warm-up paths.
- ``search_224``: a search on images that cost nothing to load: what the steps themselves take.
- ``retrain``: a retraining on such images.
- ``compile``: retraining's step with and without the average of the weights, cudnn.benchmark and
  torch.compile.
- ``search_digits``: the demo's search, whose layers are so small that the host is the limit.
- ``pytest_gpu``: the tests that need CUDA.
- ``images``: writes JPEG files for the next.
- ``search_files``: a search on files, which the CPUs must read and decode.
- ``latency_small``: a latency table of a space of a few layers, to its end.
- ``latency_table``: as many rounds of the digits' table as its limit allows.

One more section of rows, ``syncs``, comes from the three searches and the retraining: how often a
step waits for the GPU, and at which lines.
"""

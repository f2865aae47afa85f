"""What a search of ImageNet and the retraining of its choice cost on many GPUs: a model in code.

``python -m benchmarks.search_cost`` counts images and multiply-adds of every part by
configs/imagefolder, as the search itself deals its steps, and prints GPU hours and hours on 1, 8
and 64 GPUs, what each GPU must be fed with and exchanges in a step, and how all of this grows with
space, resolution and ranks. Counts are exact, or means over paths that are drawn. Hours follow from
the speed of a GPU: rows of benchmarks/results/gpu_check.jsonl (``benchmarks.gpu_check``) where
there are any, else 1,500 images a second of MnasNet-A1, an assumption. The first line says which.
"""

"""What is done with LiteRT within its environment, which has none of our packages.

``python -I litert_child.py VERB`` reads arrays (NumPy's .npz) from its input and writes others; a
model and a torch.export program are arrays of bytes. It ends over an error with one line.
"""

import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WARM_UP_RUNS, TIMED_RUNS = 10, 100
INPUT = "images"


def convert(program: np.ndarray, images: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    """A program for one image as a model whose outputs have these names.

    It is in int8, if there are images to calibrate on.
    """
    import litert_torch
    import torch

    module = torch.export.load(io.BytesIO(program.tobytes())).module()
    if len(images):
        _stride_after_pool(module)

    class Named(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            given = module(images)
            tensors = (given,) if isinstance(given, torch.Tensor) else given
            return dict(zip(outputs.tolist(), tensors, strict=True))

    (image,) = (node for node in module.graph.nodes if node.op == "placeholder")
    sample = {INPUT: torch.zeros(image.meta["val"].shape)}
    model = bytes(litert_torch.convert(Named().eval(), sample_kwargs=sample).model_content())
    return {"model": _as_array(_quantized(model, images) if len(images) else model)}


def _as_array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def _stride_after_pool(module: Any) -> None:
    """Pools of stride 1, of which every so many values are kept: the quantizer knows no others."""
    import torch

    graph, aten = module.graph, torch.ops.aten
    for node in graph.find_nodes(op="call_function", target=aten.avg_pool2d.default):
        features, kernel, stride, *rest = node.args
        node.args = (features, kernel, [1, 1], *rest)
        last = node
        for axis, step in zip((2, 3), stride, strict=True):
            with graph.inserting_after(last):
                taken = (last, axis, 0, sys.maxsize, step)
                last = graph.call_function(aten.slice.Tensor, taken)
        node.replace_all_uses_with(last, lambda user: user.target is not aten.slice.Tensor)
    module.recompile()


def _quantized(model: bytes, images: np.ndarray) -> bytes:
    """A model in int8: weights have a scale for each channel, images and logits stay floats."""
    from ai_edge_quantizer import qtyping, quantizer, recipe

    work = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        work.update_quantization_recipe(regex=".*", operation_name=end, algorithm_key="no_quantize")
    samples = {"serving_default": [{INPUT: image[None]} for image in images]}
    return bytes(work.quantize(work.calibrate(samples)).quantized_model)


def run(model: np.ndarray, images: np.ndarray) -> dict[str, Any]:
    """Outputs by their names for images (B, 3, R, R), which are run one by one."""
    call = _interpreter(model).get_signature_runner()
    found = [call(**{INPUT: image[None]}) for image in images]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def measure(model: np.ndarray) -> dict[str, Any]:
    """CPU time of one image in ms, the median of ``TIMED_RUNS`` runs on one thread."""
    interpreter = _interpreter(model)
    interpreter.allocate_tensors()
    (images,) = interpreter.get_input_details()
    image = np.random.default_rng(0).normal(size=images["shape"]).astype(np.float32)
    interpreter.set_tensor(images["index"], image)
    times = []
    for _ in range(WARM_UP_RUNS + TIMED_RUNS):
        start = time.process_time_ns()
        interpreter.invoke()
        times.append((time.process_time_ns() - start) / 1e6)
    return {"ms": np.array(statistics.median(times[WARM_UP_RUNS:]))}


def _interpreter(model: np.ndarray) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=model.tobytes(), num_threads=1)


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "convert": convert,
    "run": run,
    "measure": measure,
}


def main() -> None:
    """Answer one request."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no part of the answer
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as given:
        found = VERBS[sys.argv[1]](**given)
    np.savez(answer, **found)
    answer.close()


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        said = " ".join(str(error).split())
        raise SystemExit(f"{type(error).__name__}: {said}") from error

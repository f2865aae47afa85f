"""What a report says of the files of an export: their sizes, times, accuracies, and their use."""

from collections.abc import Iterator, Mapping
from typing import Any

from supernet.cost.counts import count
from supernet.report.page import Code, PageTable, Section
from supernet.report.run_files import RunFiles
from supernet.report.search_sections import network_rows
from supernet.space.spec import NetSpec

HEADER = ("format", "file", "MB", "ms", "test accuracy", "agrees", "state")
CAPTION = (
    "ms: one image on one thread of the machine that exported; test accuracy: of a file of floats"
    " the network's, with which it agrees on so many images"
)
USES = {
    "onnx": """import json, onnxruntime

network = onnxruntime.InferenceSession("{file}")
told = {{k: json.loads(v) for k, v in network.get_modelmeta().custom_metadata_map.items()}}
outputs = network.run(None, {{"images": images}})""",
    "pt2": """import torch

network = torch.export.load("{file}").module()
outputs = network(images)""",
    "executorch": """from executorch.runtime import Runtime

network = Runtime.get().load_program("{file}").load_method("forward")
outputs = network.execute([images])""",
    "litert": """from ai_edge_litert.interpreter import Interpreter

network = Interpreter("{file}")
network.allocate_tensors()
network.set_tensor(network.get_input_details()[0]["index"], images)
network.invoke()
outputs = [network.get_tensor(one["index"]) for one in network.get_output_details()]""",
    "openvino": """import openvino

network = openvino.compile_model("{file}/network.xml")
outputs = network(images)""",
    "coreml": """import coremltools

network = coremltools.models.MLModel("{file}")
outputs = network.predict({{"images": images}})""",
}
"""Lines of Python that run a file, by its format."""


def network(files: RunFiles) -> Iterator[Section]:
    """The network that was exported."""
    export = files.values("export.json")
    if not export:
        return
    spec = NetSpec.from_dict(export["spec"])
    cost = count(spec)
    facts = [
        ("parameters", f"{cost.params:,}"),
        ("multiply-adds", f"{cost.macs:,}"),
        ("images", f"{spec.resolution} px, {spec.classes} classes"),
    ]
    yield Section("Network", facts=facts, tables=[network_rows(spec)])


def exported(files: RunFiles) -> Iterator[Section]:
    """The files, and how they are used."""
    export = files.values("export.json")
    if not export:
        return
    metadata, entries = export.get("metadata", {}), export["formats"]
    predicted = export.get("predicted")
    facts = [("predicted by the search", f"{predicted['ms']:.4g} ms")] if predicted else []
    facts += [("compared with PyTorch on", f"{export['checked_on']} images")]
    left_out = export.get("not_written", {}).items()
    reasons = {name: entry["failure"] for name, entry in entries.items() if entry["failure"]}
    failed = [f"{name} failed its check: {why}" for name, why in reasons.items()]
    rows = [_row(name, entry, metadata) for name, entry in entries.items()]
    yield Section(
        "Exported files",
        alarms=[*failed, *(f"{name} was not written: {why}" for name, why in left_out)],
        facts=[*facts, *_input(metadata)],
        tables=[PageTable(CAPTION, HEADER, rows, HEADER[:2])],
        code=list(_uses(entries, metadata)),
    )


def _row(name: str, entry: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """A file: an int8 one has a test accuracy of its own, the others have the network's."""
    accuracy = entry.get("accuracy") or metadata.get("accuracy", {})
    tested = accuracy.get("accuracy") if accuracy.get("split", "test") == "test" else None
    ms = entry.get("latency_ms")
    return [
        name,
        entry["file"],
        f"{entry['bytes'] / 1e6:.2f}",
        "-" if ms is None else f"{ms:.3g}",
        "-" if tested is None else f"{tested:.2%}",
        f"{entry['agreement']:.1%}" if "agreement" in entry else "-",
        "do not ship" if entry["failure"] else entry.get("unverified", "checked"),
    ]


def _input(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How an image becomes the input."""
    facts = [("preprocessing", str(metadata.get("preprocessing", "unknown")))]
    told = ("resize", "crop", "interpolation", "mean", "std", "background")
    facts += [(name, str(metadata[name])) for name in told if name in metadata]
    if classes := metadata.get("classes"):
        shown = ", ".join(map(str, classes[:20]))
        facts.append(("classes", shown + f" and {len(classes) - 20} more" * (len(classes) > 20)))
    return facts


def _uses(entries: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[Code]:
    """Lines that run each file that may be shipped."""
    shape = ", ".join(map(str, metadata.get("input_shape", ())))
    outputs = ", ".join(metadata.get("outputs", ()))
    for name, entry in entries.items():
        use = USES.get(name.split("-")[0])
        if use and not entry["failure"]:
            images = f"# images: float32 ({shape}), prepared as above; outputs: {outputs}"
            text = f"{images}\n{use.format(file=entry['file'])}"
            yield Code(f"to use {entry['file']}", text)

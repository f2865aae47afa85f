"""Text of a model card: Hugging Face's YAML front matter, and markdown for people."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from retrain.card.contents import Contents
from supernet.cost.counts import count

TASK = "image-classification"
PREPROCESSING = ("resize", "crop", "interpolation", "mean", "std", "background")
"""Fields of the metadata that say how an image file becomes the input."""
_MARKS = re.compile(r"([\\`*_\[\]<>|#])")

USE = """```python
import timm
import torch
from PIL import Image

import supernet.timm_models  # of the package mnasnet-search: registers the architecture

network = timm.create_model("{source}", pretrained=True).eval()
config = timm.data.resolve_model_data_config(network)
transform = timm.data.create_transform(**config, is_training=False)
with torch.inference_mode():
    logits = network(transform(Image.open("photo.jpg").convert("RGB"))[None])
print(network.pretrained_cfg["label_names"][logits.argmax()])
```"""


def card_text(contents: Contents, license_id: str, source: str) -> str:
    """The text of README.md.

    Args:
        contents: of the run.
        license_id: Hugging Face's identifier of the licence, such as apache-2.0.
        source: by which timm loads the network: ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``.
    """
    data = front_matter(contents, license_id)
    sections = {
        "Use": _use(contents, source),
        "Network": _network(contents),
        "Data and preprocessing": _data(contents),
        "Accuracy": _accuracy(contents),
        "Files and latency": _files(contents),
        "Search": _search(contents),
        "Licence and versions": _origin(contents, license_id),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return (
        f"---\n{data.to_yaml()}\n---\n\n# {plain(contents.name)}\n\n{_lead(contents)}\n\n{body}\n"
    )


def front_matter(contents: Contents, license_id: str) -> ModelCardData:
    """What the hub reads: task, library, licence, and the accuracy with its split."""
    return ModelCardData(
        library_name="timm",
        pipeline_tag=TASK,
        license=license_id,
        tags=[TASK, "timm", "mnasnet", "neural-architecture-search"],
        metrics=["accuracy"],
        model_name=contents.name,
        eval_results=_result(contents),
    )


def _result(contents: Contents) -> list[EvalResult] | None:
    judged = contents.metadata["accuracy"]
    if "accuracy" not in judged:
        return None
    result = EvalResult(
        task_type=TASK,
        dataset_type=re.sub(r"[^\w.-]+", "-", contents.data.lower()),
        dataset_name=contents.data,
        dataset_split=_split(judged),
        metric_type="accuracy",
        metric_value=round(judged["accuracy"], 6),
    )
    return [result]


def _split(judged: Mapping[str, Any]) -> str:
    return {"val": "validation"}.get(judged["split"], judged["split"])


def plain(text: str) -> str:
    """Text of a stranger, such as a class's name, without meaning for markdown."""
    return _MARKS.sub(r"\\\1", text)


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """A markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _lead(contents: Contents) -> str:
    spec = contents.trained.spec
    how = "found by an architecture search" if contents.found else "of a published architecture"
    return (
        f"A mobile image classifier of {spec.classes} classes at {spec.resolution} px, {how} and"
        f" trained on {plain(contents.data)}."
    )


def _use(contents: Contents, source: str) -> str:
    text = USE.format(source=source)
    if any(one.kind == "onnx" for one in contents.files):
        text += (
            "\n\n`network.onnx` needs neither package: its metadata hold the names of the classes"
            " and the preprocessing."
        )
    return text


def _network(contents: Contents) -> str:
    cost, spec = count(contents.trained.spec), contents.trained.spec
    facts = [
        ("parameters", f"{cost.params:,}"),
        ("multiply-adds", f"{cost.macs:,}"),
        ("input", f"3 x {spec.resolution} x {spec.resolution}"),
        ("stem, head", f"{spec.stem}, {spec.head} channels"),
        ("activation", spec.activation),
    ]
    blocks = "\n".join(spec.block_strings())
    drawn = [f"![{one.stem}](figures/{one.name})" for one in contents.figures[:1]]
    return "\n\n".join([table(facts, ("", "")), f"```text\n{blocks}\n```", *drawn])


def _data(contents: Contents) -> str:
    told = contents.metadata
    rows = [(name, f"`{told[name]}`") for name in PREPROCESSING if name in told]
    names = ", ".join(map(plain, told["classes"]))
    steps = table([("steps", told["preprocessing"]), *rows], ("", ""))
    digest = f" Digest of the data: `{told['data_digest']}`." if told.get("data_digest") else ""
    return (
        f"{plain(contents.data)}; classes in the order of the logits: {names}.{digest}\n\n{steps}"
    )


def _accuracy(contents: Contents) -> str:
    judged = contents.metadata["accuracy"]
    if "accuracy" not in judged:
        return "These weights were not judged."
    split = _split(judged)
    images = f"{judged['images']:g} " if "images" in judged else ""
    text = f"**{judged['accuracy']:.2%}** of {images}{split} images"
    if "majority_share" in judged:
        text += f"; the most frequent class alone would give {judged['majority_share']:.2%}"
    chosen = "" if split == "test" else " The weights were chosen on these images: expect less."
    alarm = f" **{plain(judged['alarm'])}**" if judged.get("alarm") else ""
    return f"{text}.{chosen}{alarm} Nothing is known of images unlike those of training."


def _files(contents: Contents) -> str:
    rows = [
        (
            f"`{one.path.name}`",
            one.kind,
            f"{one.num_bytes:,}",
            f"{one.ms:.3g}" if one.ms else "",
            plain(one.remark),
        )
        for one in contents.files
    ]
    text = table(rows, ("file", "format", "bytes", "ms", ""))
    return f"{text}\n\nms: one image on one thread of the machine that exported the files."


def _search(contents: Contents) -> str:
    found = contents.found
    if not found:
        return ""
    error = f"; {found.table_error.words}" if found.table_error else ""
    device = f" on {plain(found.device)}" if found.device else ""
    rows = [
        ("target", f"{found.target:.4g} {found.unit}"),
        ("predicted", f"{found.predicted:.4g} {found.unit}{device}{error}"),
    ]
    if found.measured:
        rows.append(("measured", f"{found.measured.ms:.4g} ms, {found.measured.comparison}"))
    rows += [
        (f"{use.cost}, limited", f"{use.predicted:.4g} of {use.limit:.4g}")
        for use in found.constraints
    ]
    drawn = [f"![{one.stem}](figures/{one.name})" for one in contents.figures[1:]]
    return "\n\n".join([table(rows, ("", "")), "All of it: `arch.json`.", *drawn])


def _origin(contents: Contents, license_id: str) -> str:
    versions = ", ".join(f"{name} {one}" for name, one in contents.trained.versions.items())
    trained = f"\n\nTrained with {versions}." if versions else ""
    return f"`{license_id}`, for the weights and all files here.{trained}"

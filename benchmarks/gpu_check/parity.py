"""Parity: does a slice of the supernet compute what the network extracted from it computes?"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gpu_check.machine import (
    AMOUNT,
    CUDNN,
    DEVICE,
    GPU,
    autocast,
    paper_supernet,
    random_batch,
)
from benchmarks.gpu_check.rows import Rows
from supernet.network.supernet import SuperNet
from supernet.space.arch import Arch
from supernet.training.recipe import make_optimizer

NUM_LABELS, NUM_BATCHES = 10, 4
"""Of the short trainings that are compared."""


class Errors(NamedTuple):
    """Norms of differences over the norm of what the extracted network gives."""

    logits: float
    again: float
    """Of the extracted network's logits, run twice: what is noise of the device."""
    gradient: float
    """Of the stem's weights."""


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over that of ``expected``; tensors of one shape."""
    return float((found - expected).norm() / expected.norm())


def compare(
    supernet: SuperNet, arch: Arch, batch: tuple[Tensor, Tensor], dtype: torch.dtype | None
) -> Errors:
    """Run a slice and the network extracted from it forwards and backwards on the same images."""
    images, labels = batch
    network = supernet.extract(arch).train().to(memory_format=torch.channels_last)
    with autocast(dtype):
        ours, theirs = supernet(images, arch).float(), network(images).float()
    with torch.no_grad(), autocast(dtype):
        again = network(images).float()
    supernet.zero_grad(set_to_none=True)
    for logits in (ours, theirs):
        functional.cross_entropy(logits, labels).backward()
    return Errors(
        relative_error(ours, theirs),
        relative_error(again, theirs),
        relative_error(*map(gradient_of, (supernet.conv_stem, network.conv_stem))),
    )


def gradient_of(conv: nn.Conv2d) -> Tensor:
    """The gradient of a convolution's weight."""
    assert conv.weight.grad is not None, "the loss depends on it"
    return conv.weight.grad


def allow_tf32(allowed: bool) -> None:
    """Whether fp32 convolutions and matrix products may round to TF32."""
    precision = "tf32" if allowed else "ieee"
    CUDNN.conv.fp32_precision = precision
    torch.backends.cuda.matmul.fp32_precision = precision


def compare_with_extracted(rows: Rows, tf32: bool, dtype: torch.dtype | None) -> None:
    """Worst errors over a few architectures in one precision."""
    allow_tf32(tf32)
    supernet, rng = paper_supernet(), random.Random(0)
    batch = random_batch(AMOUNT.parity_batch)
    errors = [
        compare(supernet, supernet.space.sample(rng), batch, dtype)
        for _ in range(AMOUNT.num_parity_archs)
    ]
    worst = Errors(*map(max, zip(*errors, strict=True)))
    name = f"{'bf16' if dtype else 'fp32'}{' tf32' if tf32 else ''}"
    note = f"the same network run twice: {worst.again:.2g}"
    rows.add(f"{name}: logits, relative error", worst.logits, "", note)
    rows.add(f"{name}: stem gradient, relative error", worst.gradient)


@torch.no_grad()
def compare_with_cpu(rows: Rows) -> None:
    """Logits of one slice in fp32: is any CUDA path of the slices wrong?"""
    allow_tf32(False)
    supernet = paper_supernet()
    arch = supernet.space.sample(random.Random(1))
    images, _ = random_batch(AMOUNT.parity_batch)
    found = supernet(images, arch).cpu()
    expected = supernet.cpu()(images.cpu(), arch)
    rows.add(
        f"{DEVICE.type} against cpu, fp32: logits, relative error", relative_error(found, expected)
    )


@torch.no_grad()
def compare_precisions(rows: Rows) -> None:
    """Logits of one extracted network in bf16 and in TF32 against those in fp32."""
    supernet = paper_supernet()
    network = supernet.extract(supernet.space.sample(random.Random(1))).train()
    network = network.to(memory_format=torch.channels_last)
    images, _ = random_batch(AMOUNT.parity_batch)
    allow_tf32(False)
    expected = network(images)
    with autocast(torch.bfloat16):
        found = network(images).float()
    rows.add("bf16 against fp32: logits, relative error", relative_error(found, expected))
    allow_tf32(True)
    rows.add("tf32 against fp32: logits, relative error", relative_error(network(images), expected))


def last_loss(dtype: torch.dtype | None) -> float:
    """Mean loss of the last third of a short training of one network, which batches repeat."""
    allow_tf32(False)
    supernet = paper_supernet(classes=NUM_LABELS)
    network = supernet.extract(supernet.space.sample(random.Random(1))).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, "adamw", lr=1e-3, weight_decay=0.0)
    torch.manual_seed(0)
    batches = [random_batch(AMOUNT.parity_batch, NUM_LABELS) for _ in range(NUM_BATCHES)]
    losses = []
    for step in range(AMOUNT.num_losses):
        images, labels = batches[step % NUM_BATCHES]
        with autocast(dtype):
            loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().float())
    return float(torch.stack(losses[-max(1, len(losses) // 3) :]).mean())


def compare_losses(rows: Rows) -> None:
    """Losses of one training, learned by heart, in fp32 and in bf16."""
    note = f"the last third of {AMOUNT.num_losses} steps; chance {math.log(NUM_LABELS):.2f}"
    rows.add("loss of a short training, fp32", last_loss(None), "nats", note)
    rows.add("loss of a short training, bf16", last_loss(torch.bfloat16), "nats", note)


def main() -> None:
    """Compare in each precision, then with the CPU."""
    rows = Rows("parity")
    for tf32 in (False, True) if GPU else (False,):
        for dtype in (None, torch.bfloat16):
            compare_with_extracted(rows, tf32, dtype)
    compare_with_cpu(rows)
    compare_precisions(rows)
    compare_losses(rows)


if __name__ == "__main__":
    main()

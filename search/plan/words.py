"""Words: a plan as sentences for a person. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.plan.estimate import BUSY, NETWORKS
from search.plan.rules import GOOD_TUNING
from supernet.training.step_times import duration

if TYPE_CHECKING:
    from search.plan.planning import PlannedRuns, PlanRequest

UNUSED = 0.8
"""Share of a budget below which a plan says why it takes no more."""


def sentences(request: PlanRequest, plan: PlannedRuns, price_per_hour: float | None) -> list[str]:
    """What was found and settled, a sentence a line."""
    estimate, lengths, rates = plan.estimate, plan.lengths, plan.estimate.rates
    images = estimate.images
    search = estimate.search_seconds(lengths.tuning)
    retraining = estimate.retraining_seconds(lengths.epochs)
    tuned, trained = lengths.search_steps, lengths.epochs * estimate.steps_per_epoch
    counted = f"{images.number:,} images of {images.num_classes} classes"
    found = (
        f"{counted}, {images.sizes} px: {images.num_training:,} to train on, {images.num_val:,} for"
        f" validation, {images.num_test:,} to test"
    )
    machine = (
        f"{_machine(plan)}: a step of {estimate.batch} images of {rates.resolution} px takes"
        f" {rates.step:.2g} s, and reading an image {1000 * rates.read:.2g} ms"
    )
    table = estimate.table_seconds
    measuring = f", {duration(table)} of which time it" if table else ""
    first = (
        f"search: {tuned:,} steps, {lengths.tuning} for each of {NETWORKS} networks, in about"
        f" {duration(search)}{measuring}"
    )
    second = (
        f"retraining: {lengths.epochs} epochs, {trained:,} steps, with test and export in about"
        f" {duration(retraining)}"
    )
    total = (
        f"{counted} at {rates.resolution} px: {tuned + trained:,} steps, about"
        f" {duration(search + retraining)} here{_asked(request.budget)},"
        f" {plan.memory / 1e9:.1f} GB of memory{_cost(search + retraining, price_per_hour)}"
    )
    return [found, machine, *_notes(request.budget, plan), first, second, total]


def _machine(plan: PlannedRuns) -> str:
    machine = plan.estimate.machine
    return machine.gpu or f"this machine, {machine.cores} core{'s' if machine.cores > 1 else ''}"


def _asked(budget: float | None) -> str:
    return f" (asked: {duration(budget)})" if budget else ""


def _cost(seconds: float, price_per_hour: float | None) -> str:
    if price_per_hour is None:
        return ""
    return f", {seconds / 3600 * price_per_hour:.2f} at {price_per_hour:g} an hour"


def _notes(budget: float | None, plan: PlannedRuns) -> list[str]:
    """What a user should know of the sizes and lengths."""
    rates, notes = plan.estimate.rates, list[str]()
    if budget and plan.estimate.seconds(plan.lengths) < UNUSED * budget:
        notes.append(
            "note: search and retraining have the greatest lengths that these rules know: more time"
            " buys no more"
        )
    if rates.busy >= BUSY:
        notes.append(
            f"note: other programs use this machine: a step takes {rates.busy:.1f} times what a"
            " processor works for it, and all times below count on that"
        )
    if plan.smaller_than:
        notes.append(
            f"note: {plan.smaller_than} px would leave too little training in this time: images"
            f" are made {rates.resolution} px"
        )
    if plan.lengths.tuning < GOOD_TUNING:
        notes.append(
            f"note: {plan.lengths.tuning} steps tell little of a network; searches that were"
            f" measured have {GOOD_TUNING} and more (docs/search-method.md): give more time if the"
            " choice matters"
        )
    return notes

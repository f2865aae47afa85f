"""What a search refuses before its first step: what would end it later, or continue another."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

from search.objective.feasible import costliest
from search.objective.objective import Objective
from search.objective.targets import BAND
from search.settings import update_steps
from supernet.command.output import say
from supernet.data.run_data import RunData
from supernet.errors import UserError
from supernet.latency.devices.device import device_name
from supernet.latency.devices.runtimes import OnnxRuntime
from supernet.latency.table.table import LatencyTable
from supernet.space.mnasnet import MnasSpace
from supernet.space.settings import SpaceSettings


def check_run(trainer: pl.Trainer) -> None:
    """Refuse a Trainer of one's own, which would choose nothing, and what the search does itself.

    Raises:
        UserError: naming what to call or to set instead.
    """
    if not isinstance(getattr(trainer, "datamodule", None), RunData):
        raise UserError(
            "a search is more than its weight steps: call search.api.search(data, run), which also"
            " tunes networks and chooses one"
        )
    if trainer.gradient_clip_val:
        raise UserError(
            f"trainer.gradient_clip_val is {trainer.gradient_clip_val}: a search shortens gradients"
            " itself, to model.weights.max_grad_norm: set that instead"
        )
    if getattr(trainer.strategy, "_layer_sync", None):  # of strategies of several processes
        raise UserError(
            "trainer.sync_batchnorm is true, but each process of a search trains a network of its"
            " own, which shares no statistics with others: leave it out"
        )


def note_reference(space: MnasSpace, words: Sequence[str]) -> None:
    """Say that the reference of a space, where someone has named one, gives it nothing.

    ``words`` are those of the command line; a config of all settings names the default one.
    """
    option = "--model.space.reference"
    named = any(word.partition("=")[0] == option for word in words)
    if space.ignores_reference and (named or space.reference != SpaceSettings.reference):
        say(
            f"note: model.space.reference {space.reference} changes nothing, as base_filters,"
            " base_layers and strides are all given: make those [] that are to be the reference's"
        )


def check_length(num_steps: float) -> None:
    """Refuse a search without steps, or without an end.

    Raises:
        UserError: naming the length and the option that changes it.
    """
    if not 0 < num_steps < float("inf"):
        raise UserError(
            f"the search has {num_steps} steps: give trainer.max_steps or trainer.max_epochs"
            " above 0"
        )


def check_updates(first: int, total: int, every: int) -> None:
    """Refuse a search by slices with too few weight steps for one update of the controller.

    Raises:
        UserError: naming the steps, the limit and the option that changes it.
    """
    if not update_steps(first, total, every):
        raise UserError(
            f"the controller would learn nothing: of {total} steps it has those from {first} on,"
            f" and sampling.every is {every}: raise trainer.max_steps, or lower sampling.every"
        )


def note_costs(objective: Objective) -> None:
    """Say what a latency is of, and which targets all networks meet or none comes near."""
    cost = objective.cost_model
    if isinstance(cost, LatencyTable):
        here = device_name(OnnxRuntime().description())
        other = "" if cost.device == here else f", while this machine is {here}"
        say(f"latency is predicted for {cost.device}{other}; {cost.error.words}")
    _, most = costliest(objective.costs)
    for target in objective.targets:
        limit = f"target {target.cost:.4g} {cost.unit}"
        if not target.least and target.cost < most:
            say(
                f"note: the constraints keep all networks out of the {BAND:.0%} below {limit}, the"
                " choice will be the best one below"
            )
        elif not target.least:
            say(
                f"note: {limit} constrains nothing, as the costliest network of the space has"
                f" {most:.4g} {cost.unit}"
            )
        elif not target.is_near:
            say(
                f"note: no network of the space lies within {BAND:.0%} below {limit}, the choice"
                f" will be the nearest from below with {target.least:.4g} {cost.unit}"
            )


def check_identity(saved: Mapping[str, Any] | None, ours: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another search, or, if ``saved`` is None, of none.

    Raises:
        UserError: naming the first thing that differs, with both values.
    """
    if saved is None:
        raise UserError("the checkpoint is not of a search: continue from one that is")
    # What searches of earlier versions had none of.
    absent = {"constraints": [], "teacher": "none", "space.shared_blocks": False}
    theirs, own = absent | _flat(saved), _flat(ours)
    for name, value in own.items():
        if theirs.get(name) != value:
            raise UserError(
                f"the checkpoint's {name} is {theirs.get(name)}, this search's is {value}: continue"
                " with the same settings, or start anew in another --run"
            )


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    space = {f"space.{name}": value for name, value in identity["space"].items()}
    return {**space, **{name: value for name, value in identity.items() if name != "space"}}

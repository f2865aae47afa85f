"""``python -m benchmarks.mutation_check``: tries mutations and prints what the tests noticed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from benchmarks.mutation_check.mutations import ROOT, Mutation, StaleMutationError, read_mutations
from benchmarks.mutation_check.trial import Verdict, check_unmutated, copy_checkout, try_mutation

GOAL = 0.95
"""Share of the mutations that the tests should notice."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Try mutations; exit with status 1 below the goal, with 2 when the list is out of date."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutation_check", description=__doc__
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help="such as data; all by default")
    parser.add_argument("--containing", default="", help="only mutations of lines with this text")
    parser.add_argument("--processes", type=int, default=1, help="trials at a time (1)")
    options = parser.parse_args(arguments)
    try:
        chosen = _chosen(read_mutations(), options.areas, options.containing)
        verdicts = try_all(chosen, options.processes)
    except StaleMutationError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if _print_score(verdicts) < GOAL:
        raise SystemExit(1)


def _chosen(mutations: Sequence[Mutation], areas: Sequence[str], text: str) -> list[Mutation]:
    known = dict.fromkeys(mutation.area for mutation in mutations)
    if unknown := [area for area in areas if area not in known]:
        raise StaleMutationError(f"no area {unknown[0]}, only {', '.join(known)}")
    for mutation in mutations:
        mutation.mutated()  # refused before anything long begins
    chosen = [one for one in mutations if one.area in (areas or known) and text in one.old]
    if not chosen:
        raise StaleMutationError(f"no mutation of a line with {text!r}")
    return chosen


def try_all(mutations: Sequence[Mutation], processes: int) -> list[Verdict]:
    """Verdicts on all mutations, told as they come; each trial has a copy of the checkout."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(processes):
            copies.put(copy_checkout(ROOT, Path(folder) / str(number)))

        def trial(mutation: Mutation) -> Verdict:
            copy = copies.get()
            try:
                return try_mutation(copy, mutation)
            finally:
                copies.put(copy)

        copy = copies.get()
        check_unmutated(copy, mutations)
        copies.put(copy)
        verdicts = []
        with ThreadPoolExecutor(processes) as pool:
            for verdict in pool.map(trial, mutations):
                print(_row(verdict), flush=True)
                verdicts.append(verdict)
        return verdicts


def _row(verdict: Verdict) -> str:
    mutation = verdict.mutation
    place = f"{mutation.file}:{mutation.line()}"
    fate = "killed" if verdict.killed else "SURVIVED"
    by = f"  {verdict.by.rpartition('::')[2]}" if verdict.killed else ""
    return f"{fate:<9}{mutation.area:<9}{verdict.seconds:4.0f} s  {place}: {mutation.harm}{by}"


def _print_score(verdicts: Sequence[Verdict]) -> float:
    """Print how many were killed in each area, and what survived; the share of all."""
    print()
    for area in dict.fromkeys(one.mutation.area for one in verdicts):
        own = [one.killed for one in verdicts if one.mutation.area == area]
        print(f"{area:<9} {sum(own):2} of {len(own)} killed")
    for one in verdicts:
        if not one.killed:
            mutation = one.mutation
            print(f"survived: {mutation.file}: {mutation.old!r} -> {mutation.new!r}")
    share = sum(one.killed for one in verdicts) / len(verdicts)
    print(f"score: {share:.1%} of {len(verdicts)} mutations killed (goal {GOAL:.0%})")
    return share


if __name__ == "__main__":
    main()

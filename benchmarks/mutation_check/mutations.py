"""Mutations: what is changed where, and which tests should notice."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutations.yaml")


class StaleMutationError(Exception):
    """A mutation that today's code or tests have left behind, in one line."""


@dataclass(frozen=True)
class Mutation:
    """One wrong line."""

    area: str
    """What it would harm: data, search, ranking, export or latency."""
    file: str
    """Path in the checkout."""
    old: str
    """Part of the source that stands in the file exactly once."""
    new: str
    """What stands there instead."""
    tests: Sequence[str]
    """Tests that should fail, as pytest takes them."""
    harm: str
    """What would go wrong, in words."""

    def line(self, root: Path = ROOT) -> int:
        """Number of the line that is changed, from 1."""
        source = (root / self.file).read_text()
        return source[: source.index(self.old)].count("\n") + 1

    def mutated(self, root: Path = ROOT) -> str:
        """The file's source with the mutation in it.

        Raises:
            StaleMutationError: when the line is not there exactly once, when its mutation is no
                Python, or when a test's file is gone.
        """
        place = root / self.file
        source = place.read_text() if place.exists() else ""
        if (number := source.count(self.old)) != 1:
            raise StaleMutationError(
                f"{self.file} holds {self.old!r} {number} times, not once: bring"
                f" {LIST.relative_to(ROOT)} up to date with it"
            )
        mutated = source.replace(self.old, self.new)
        try:
            changed = ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source))
        except SyntaxError as error:
            raise StaleMutationError(f"{self.new!r} in {self.file} is no Python: {error}") from None
        if not changed:
            raise StaleMutationError(f"{self.new!r} changes nothing in {self.file}")
        for test in self.tests:
            if not (root / test.split("::")[0]).exists():
                raise StaleMutationError(f"{test}, which should notice {self.old!r}, is gone")
        return mutated


def read_mutations(path: Path = LIST) -> list[Mutation]:
    """The mutations of a file: lists by area.

    Raises:
        StaleMutationError: when one of them lacks a field or has one too many.
    """
    found = []
    names = {field.name for field in dataclasses.fields(Mutation)} - {"area"}
    for area, rows in yaml.safe_load(path.read_text()).items():
        for number, row in enumerate(rows, 1):
            if row.keys() != names:
                raise StaleMutationError(f"{area}, number {number}: its fields are {sorted(row)}")
            found.append(Mutation(area, **row))
    return found

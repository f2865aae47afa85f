"""What a controller has met: the networks that were scored for it, and what they scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from search.controllers.controller import Scores
from search.selection.selection import Candidate, Code


@dataclass
class Record:
    """A network and its scores, one of each for each time that it was met."""

    cost: float
    accuracies: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    @property
    def reward(self) -> float:
        """Mean over the times."""
        return fmean(self.rewards)


class Knowledge:
    """Networks by their canonical code."""

    def __init__(self) -> None:
        """Nothing was met."""
        self.records: dict[Code, Record] = {}

    def add(self, codes: Iterable[Code], scores: Scores) -> None:
        """Take in the networks of a turn."""
        columns = (scores.accuracy.tolist(), scores.cost.tolist(), scores.reward.tolist())
        for code, accuracy, cost, reward in zip(codes, *columns, strict=True):
            record = self.records.setdefault(code, Record(cost))
            record.accuracies.append(accuracy)
            record.rewards.append(reward)

    def best(self, favourites: Sequence[Code], num: int) -> list[Code]:
        """At most ``num`` networks: half are the first favourites, the rest scored best on average.

        What falls short of its half is made up by the other.

        Args:
            favourites: the controller's, the best first; they need not have been met.
            num: how many.
        """
        first = list(dict.fromkeys(favourites))
        met = sorted(self.records, key=lambda code: (-self.records[code].reward, code))
        return list(dict.fromkeys([*first[: (num + 1) // 2], *met, *first]))[:num]

    def within(self, target: float) -> Knowledge:
        """What was met at no more than a cost."""
        part = Knowledge()
        part.records = {code: one for code, one in self.records.items() if one.cost <= target}
        return part

    def candidates(self) -> list[Candidate]:
        """All that was met, with mean accuracies."""
        return [
            Candidate(code, record.cost, fmean(record.accuracies))
            for code, record in self.records.items()
        ]


def hypervolume(points: Iterable[tuple[float, float]], cost: float, accuracy: float) -> float:
    """Area that points of (cost, accuracy) dominate, up to a reference point of both.

    Args:
        points: lower cost and higher accuracy are better; those beyond the reference count nothing.
        cost: of the reference point.
        accuracy: of the reference point.
    """
    area, height = 0.0, accuracy
    inside = sorted(point for point in points if point[0] < cost and point[1] > accuracy)
    for place, (left, best) in enumerate(inside):
        height = max(height, best)
        right = inside[place + 1][0] if place + 1 < len(inside) else cost
        area += (right - left) * (height - accuracy)
    return area

"""Ridge regression whose penalty leave-one-out errors choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PENALTIES = np.logspace(-1, 4, 11)
"""Penalties that are tried, for inputs of unit scale."""
CLIP = 2.5
"""Labels worse than their median by more than this many (robust) deviations are moved to there: a
network that did not train tells little of the others (z of 4.7 to 6.6 were met). Better ones stay:
proposals are meant to lie there, and what they show is what a choice is made by."""


@dataclass(frozen=True)
class Ridge:
    """Linear function of F inputs, and what is known of its errors."""

    weights: Floats
    """(F,) in units of the label for each input."""
    centre: Floats
    """(F,) mean inputs."""
    level: float
    """Mean label."""
    penalty: float
    left_out: Floats
    """(N,) predictions of each label from all others."""
    labels: Floats
    """(N,) labels, clipped, the more the better."""
    covariance: Floats
    """(F, F) of the weights, given the penalty and the noise: too small by what is not known of
    these, see ``posterior``."""

    def predict(self, inputs: Floats) -> Floats:
        """Predictions (M,) for inputs (M, F)."""
        return (inputs - self.centre) @ self.weights + self.level

    @property
    def error(self) -> float:
        """Root mean square leave-one-out error, in the label's unit."""
        return float(np.sqrt(np.mean((self.labels - self.left_out) ** 2)))

    @property
    def tells(self) -> bool:
        """Whether it predicts what it has not seen better than the mean of the others does.

        Else the penalty has shrunk it to nothing, or should have.
        """
        varies = np.ptp(self.labels) > 0  # else both errors are those of rounding
        return bool(varies and self.penalty < PENALTIES[-1] and self.error < self.error_of_mean)

    @property
    def error_of_mean(self) -> float:
        """Leave-one-out error of the mean of the other labels; 0 for a single one."""
        num = len(self.labels)
        return float(np.std(self.labels)) * num / max(1, num - 1)


def fit_ridge(inputs: Floats, labels: Floats) -> Ridge:
    """Fit labels (N,), the more the better, by inputs (N, F) of about unit scale.

    Leave-one-out errors follow in closed form from the singular vectors (Golub, Heath and Wahba
    1979, sec. 2).
    """
    labels = clipped(labels)
    centre, level = inputs.mean(axis=0), float(labels.mean())
    left, values, right = np.linalg.svd(inputs - centre, full_matrices=False)
    target = left.T @ (labels - level)
    fits = []
    for penalty in PENALTIES:
        kept = values**2 / (values**2 + penalty)
        leverage = (left**2 @ kept) + 1 / len(labels)
        residual = labels - level - left @ (kept * target)
        left_out = labels - residual / np.maximum(1 - leverage, 1e-9)
        fits.append((float(np.mean((labels - left_out) ** 2)), float(penalty), left_out))
    _, penalty, left_out = min(fits, key=lambda fit: fit[0])
    kept = values**2 / (values**2 + penalty)
    weights = right.T @ (values / (values**2 + penalty) * target)
    freedom = max(1.0, len(labels) - 1 - kept.sum())
    noise = float(np.sum((labels - level - left @ (kept * target)) ** 2)) / freedom
    # Directions that no label varies in keep their prior variance, noise / penalty.
    prior = np.eye(inputs.shape[1]) - right.T @ right
    covariance = noise * (right.T @ np.diag(1 / (values**2 + penalty)) @ right + prior / penalty)
    return Ridge(weights, centre, level, penalty, left_out, labels, covariance)


def clipped(labels: Floats) -> Floats:
    """Labels (N,) with those far below the median moved nearer, see ``CLIP``."""
    median = np.median(labels)
    reach = CLIP * 1.4826 * np.median(np.abs(labels - median))
    return np.maximum(labels, median - reach) if reach > 0 else labels

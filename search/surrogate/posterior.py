"""Posterior: what labels tell of a linear function of inputs, and of one network's own effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.surrogate.regression import PENALTIES, Floats, clipped

SHARES = np.linspace(0, 1, 11)
"""Shares of what a regression leaves over that may be a network's own effect, and not the noise of
a tuning. Labels cannot tell one from the other, as no network is tuned twice: all are as likely."""


@dataclass(frozen=True)
class Posterior:
    """Weights of F inputs, given N labels; all errors are posterior standard deviations.

    Every penalty of a ridge counts by how likely it makes the labels, noise and level integrated
    out (MacKay 1992, Bayesian interpolation), so that errors contain what is not known of it.
    Errors of the one penalty that predicts best are too small by half.
    """

    weights: Floats
    """(F,) means, in units of the label for each input."""
    covariance: Floats
    """(F, F)"""
    centre: Floats
    """(F,) mean inputs."""
    level: float
    """Mean label."""
    noise: float
    """Variance of what the inputs leave over."""
    num: int
    """Number of labels."""

    def errors(self, directions: Floats) -> Floats:
        """Standard errors (K,) of the weights along directions (K, F)."""
        variances = np.einsum("kf,fg,kg->k", directions, self.covariance, directions)
        return np.sqrt(np.maximum(variances, 0))

    def gain(self, network: Floats, others: Floats, own: float | None) -> tuple[float, float]:
        """What a network's true label is beyond the mean one of others, and the error of that.

        Args:
            network: (F,) its inputs.
            others: (M, F) theirs.
            own: its label, if it has one.
        """
        away, beyond = network - self.centre, others.mean(axis=0) - self.centre
        means, variances = [], []
        for share in SHARES if own is not None else [0.0]:
            # Given the weights, it is share * (own - predicted) beyond what is predicted.
            direction = (1 - share) * away - beyond
            residual = share * (own - self.level) if own is not None else 0.0
            means.append(direction @ self.weights + residual)
            left = share * (1 - share) + share**2 / self.num if own is not None else 1.0
            variances.append(self.errors(direction[None])[0] ** 2 + left * self.noise)
        return float(np.mean(means)), float(np.sqrt(np.mean(variances) + np.var(means)))


def fit_posterior(inputs: Floats, labels: Floats) -> Posterior:
    """Learn from labels (N,), clipped as a ridge clips them, of inputs (N, F)."""
    labels = clipped(labels)
    num, centre, level = len(labels), inputs.mean(axis=0), float(labels.mean())
    left, values, right = np.linalg.svd(inputs - centre, full_matrices=False)
    target = left.T @ (labels - level)
    rest = max(0.0, float(np.sum((labels - level) ** 2) - np.sum(target**2)))
    growth = 1 + values**2 / PENALTIES[:, None]
    noises = ((target**2 / growth).sum(axis=1) + rest) / max(1, num - 1)
    log_evidence = -0.5 * np.log(growth).sum(axis=1)
    # Labels that are all alike tell no penalty from another.
    log_evidence -= (num - 1) / 2 * np.log(np.maximum(noises, np.finfo(float).tiny))
    chances = np.exp(log_evidence - log_evidence.max())
    chances /= chances.sum()
    weights = (values / (values**2 + PENALTIES[:, None]) * target) @ right
    mean = chances @ weights
    covariance = np.einsum("p,pf,pg->fg", chances, weights - mean, weights - mean)
    unseen = np.eye(inputs.shape[1]) - right.T @ right
    for chance, noise, penalty in zip(chances, noises, PENALTIES, strict=True):
        seen = right.T @ ((1 / (values**2 + penalty))[:, None] * right)
        # Directions in which no label varies keep their prior variance, noise / penalty.
        covariance += chance * noise * (seen + unseen / penalty)
    return Posterior(mean, covariance, centre, level, float(chances @ noises), num)

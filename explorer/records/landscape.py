"""The loss around the paths of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class LandscapeSample:
    """The paths of one run's weights under several optimizers, in the plane that holds most of their movement; float64.

    The plane goes through the end of the selected path, its origin; distances are Euclidean, of trainable weights.
    names, epochs, paths, losses: by lane, `[k]` epochs, `[k, 2]` positions, `[k]` losses at the true weights (not at
    their shadows in the plane); all empty where a lane has another start or another loss, and a position is NaN where a
    run has diverged.  x, y: `[n]`, the nodes of the surface, evenly spaced, one of them at 0.  surface: `[n, n]`, rows
    along y.  shares: `[2]`, what each direction holds of the offsets' squared norm.  Whatever is not computed yet is
    NaN.  loss: train, validation or test.  selected: the lane whose end is the origin.  run: of every lane.
    """

    generation: int
    names: tuple[str, ...]
    epochs: tuple[Array, ...]
    paths: tuple[Array, ...]
    losses: tuple[Array, ...]
    x: Array
    y: Array
    surface: Array
    shares: Array
    loss: str
    selected: int
    run: int

    @property
    def explained(self) -> float:
        """Of the offsets' squared norm, what the plane holds; NaN before it is known."""
        return float(self.shares.sum())

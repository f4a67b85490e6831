"""The loss around the paths that the weights took, in the plane that holds most of their movement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.base.tensors import Tensors
from explorer.challenge.model import BATCH_NORM, EPS, Network
from explorer.records.landscape import Array, LandscapeSample
from explorer.training.film import Film
from explorer.training.fleet import Fleet
from explorer.training.verdict import DIVERGED_ABOVE

PARTS = {"train": "train", "validation": "val", "test": "test"}
"""The samples that each loss is taken over."""
MARGIN = 0.2
"""Of the paths' extent, how far the surface goes beyond them at each side."""
CHUNK_BYTES = 32 << 20
CHUNK_PRODUCTS = 5e8
"""Multiplications of one piece at most: tens of milliseconds of a processor's core."""
WITNESSES = 256
"""Training inputs that a point's statistics are taken from: two batches."""


@dataclass(frozen=True)
class LandscapeLook:
    """What to compute: around the paths of which run, and which loss (a key of `PARTS`)."""

    run: int = 0
    loss: str = "validation"


class Landscape:
    """Paths of `films` (name and film of each lane) and the loss around them; `record` is complete when `done`.

    fleet: the one that `films[selected]` is of.  A lane of another start or another loss than its keeps an empty path.
    grid: nodes of the surface along each axis.

    The plane's directions u₁, u₂ are the leading principal directions of all frames' offsets xᵢ from the selected
    path's end, of trainable weights alone: with the Gram matrix G = XXᵀ and its unit eigenvectors v, u = Xᵀv/√λ.

    Computed piece by piece, by `advance`, so that the caller can fit other work between.
    """

    def __init__(
        self,
        films: Sequence[tuple[str, Film]],
        fleet: Fleet,
        selected: int,
        look: LandscapeLook,
        generation: int = 0,
        grid: int = 25,
    ) -> None:
        own = films[selected][1]
        frames = [film.frames if film.instance == own.instance else () for _, film in films]
        epochs = tuple(np.array([frame.epoch for frame in lane], dtype=int) for lane in frames)
        self.done = False
        self._known = (generation, tuple(name for name, _ in films), epochs), (look.loss, selected, own.run)
        self._rows = [frame.params for lane in frames for frame in lane]
        self._lane = np.repeat(np.arange(len(films)), [len(lane) for lane in frames])
        self._selected, self._grid = selected, grid

        challenge, self._device, self._dtype = fleet.challenge, fleet.device, fleet.dtype
        self._network = Network(challenge, 1, self._device, self._dtype)
        dataset = fleet.datasets[fleet.runs[own.run].seed]
        judged = getattr(dataset, PARTS[look.loss])
        arrays = judged.inputs, judged.targets, dataset.train.inputs[:WITNESSES]
        self._x, self._y, self._witnesses = (
            torch.as_tensor(values, device=self._device, dtype=self._dtype)[None] for values in arrays
        )
        size, samples = self._network.layout.size, len(judged.inputs) + len(arrays[2])
        weight = (2 * size + 3 * samples * challenge.width) * torch.finfo(self._dtype).bits // 8
        self._chunk = max(1, min(CHUNK_BYTES // weight, int(CHUNK_PRODUCTS // (size * samples))))

        self._losses = np.full(len(self._rows), np.nan)
        self._paths = np.full((len(self._rows), 2), np.nan)
        self._shares = np.full(2, np.nan)
        self._nodes = np.linspace(-1, 1, grid), np.linspace(-1, 1, grid)
        self._surface = np.full((grid, grid), np.nan)
        self._pieces = self._work()

    @property
    def record(self) -> LandscapeSample:
        """What is known so far."""
        head, tail = self._known
        ends = np.searchsorted(self._lane, np.arange(1, len(head[1])))
        paths, losses = (tuple(np.split(values.copy(), ends)) for values in (self._paths, self._losses))
        return LandscapeSample(*head, paths, losses, *self._nodes, self._surface.copy(), self._shares, *tail)

    def advance(self) -> None:
        """Do the next piece."""
        try:
            next(self._pieces)
        except StopIteration:
            self.done = True

    def _work(self) -> Iterator[None]:
        """Every piece in turn: the losses along the paths, the plane, the surface."""
        usable = np.zeros(len(self._rows), dtype=bool)
        for part in _parts(len(self._rows), self._chunk):
            weights = torch.stack(self._rows[part]).to(self._device, self._dtype)
            self._losses[part] = self._loss(Tensors(self._network.layout, weights))
            usable[part] = torch.isfinite(weights).all(dim=1).cpu().numpy() & (self._losses[part] < DIVERGED_ABOVE)
            yield
        ends = np.flatnonzero(usable & (self._lane == self._selected))
        if not len(ends):
            return
        end = self._rows[ends[-1]]
        size = self._network.layout.trainable_size
        moving = [row[:size] for row, used in zip(self._rows, usable, strict=True) if used]
        offsets = _Offsets(moving, end, self._device)

        gram = torch.zeros(len(moving), len(moving), device=self._device, dtype=torch.float64)
        for _, block in offsets:
            gram.addmm_(block, block.T)
            yield
        sums, places, self._shares = _directions(gram.cpu().numpy(), self._lane[usable] == self._selected)
        self._paths[usable] = places
        if not self._shares[0] > 0:  # nothing has moved yet
            return
        self._nodes = _square(places, self._grid)

        axes = torch.empty(2, len(moving[0]), device=self._device, dtype=self._dtype)
        combine = torch.as_tensor(sums.T, device=self._device)
        for part, block in offsets:
            axes[:, part] = (combine @ block).to(self._dtype)
            yield
        origin = Tensors(self._network.layout, end.to(self._device, self._dtype, copy=True)[None])
        statistics = _Statistics(origin, self._witnesses)
        points = np.stack(np.meshgrid(*self._nodes), axis=-1).reshape(-1, 2)
        for part in _parts(len(points), self._chunk):
            steps = torch.as_tensor(points[part], device=self._device, dtype=self._dtype)
            there = Tensors(origin.layout, origin.buffer.repeat(len(steps), 1))
            there.flat.addmm_(steps, axes)
            statistics.put_into(there)
            self._surface.reshape(-1)[part] = self._loss(there)
            yield

    def _loss(self, params: Tensors) -> Array:
        """The loss of each of R models, as the challenge evaluates it: `[R]`."""
        outputs = self._network.evaluate(params, self._x.expand(len(params.buffer), -1, -1))
        return outputs.sub_(self._y).square_().mean(dim=(1, 2)).double().cpu().numpy()


class _Offsets:
    """Columns of the rows' offsets from `end`, one piece after the other: where they lie, and `[N, k]` in float64."""

    def __init__(self, rows: Sequence[Tensor], end: Tensor, device: torch.device) -> None:
        self._rows, self._end, self._device = rows, end, device
        self._chunk = int(max(1, min(CHUNK_BYTES // (8 * len(rows)), CHUNK_PRODUCTS / 2 // len(rows) ** 2)))

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        for part in _parts(len(self._rows[0]), self._chunk):
            block = torch.stack([row[part] for row in self._rows]).to(self._device, torch.float64)
            yield part, block.sub_(self._end[part].to(self._device, torch.float64))


class _Statistics:
    """The running statistics that batch norms would have at other weights than a run's own.

    Mixed from those of the frames, as weights are, they would fit no point between two paths: outputs there would be
    constant or explode, whatever the weights are worth.  So they are taken anew at each point, over some training
    inputs.  Training's own lag behind its weights; they are moved and stretched (in units of the deviation) by as much
    as the run's own differ from what is seen at its own weights, where they thus are the run's own.
    """

    def __init__(self, own: Tensors, inputs: Tensor) -> None:
        self._inputs = inputs
        self._own: list[tuple[Tensor, Tensor]] = []
        self._layers = sum(name.endswith("running_var") for name in own.names)
        self.put_into(own)

    def put_into(self, params: Tensors) -> None:
        """Write the statistics of each of R models into it; the first one ever is the run's own."""
        named = dict(zip(params.names, params, strict=True))
        h = self._inputs.expand(len(params.buffer), -1, -1)
        for layer in range(self._layers):
            linear = [named[f"linears.{layer}.{kind}"] for kind in ("weight", "bias")]
            gamma, beta, mean, variance = (named[f"norms.{layer}.{kind}"] for kind in BATCH_NORM)
            a = torch.baddbmm(linear[1][:, None], h, linear[0].mT).relu_()
            seen_variance, seen_mean = torch.var_mean(a, dim=1)
            deviation = (seen_variance + EPS).sqrt_()
            if layer == len(self._own):
                self._own.append(((mean - seen_mean) / deviation, (variance + EPS).sqrt_() / deviation))
            lag, stretch = self._own[layer]
            mean.copy_(seen_mean + lag * deviation)
            deviation.mul_(stretch)
            variance.copy_(deviation.square() - EPS)
            h = a.sub_(mean[:, None]).mul_((gamma / deviation)[:, None]).add_(beta[:, None])


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _directions(gram: Array, selected: Array) -> tuple[Array, Array, Array]:
    """From the Gram matrix `[N, N]` of the offsets: coefficients `[N, 2]`, positions `[N, 2]` and shares `[2]`.

    selected: bool `[N]`, whose path comes from the left and from below.  A direction that does not exist is zero.
    """
    values, vectors = np.linalg.eigh(gram)
    sums, shares = np.zeros((len(gram), 2)), np.zeros(2)
    for axis in range(min(2, len(gram))):
        value, vector = values[-1 - axis], vectors[:, -1 - axis]
        if value > 1e-12 * values[-1]:
            sums[:, axis], shares[axis] = vector / np.sqrt(value), value
    places = gram @ sums
    own = places[selected]
    farthest = own[np.abs(own).argmax(axis=0), [0, 1]]
    sign = np.where(farthest > 0, -1.0, 1.0)
    return sums * sign, places * sign, shares / max(np.trace(gram), np.finfo(float).tiny)


def _square(places: Array, grid: int) -> tuple[Array, Array]:
    """Nodes of a square around all places and a margin: as far apart in x as in y, and one of them at the origin."""
    low, high = places.min(axis=0), places.max(axis=0)
    side = (1 + 2 * MARGIN) * (high - low).max()
    step = side / (grid - 1)
    before = np.round((side / 2 - (low + high) / 2) / step)
    x, y = (np.arange(grid) - before[:, None]) * step
    return x, y

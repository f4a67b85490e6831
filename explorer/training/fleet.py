"""The fixed training loop, for R runs at once.  No threads, no user interface, no host synchronisation in an epoch.

On a CUDA device an epoch is one CUDA graph, captured from the very code that runs elsewhere; an optimizer that cannot
be captured runs uncaptured, and `Fleet.captured` says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from explorer.base.launch import runs_kernels
from explorer.base.random import Stream, permutations
from explorer.base.side_by_side import side_by_side
from explorer.base.tensors import Tensors
from explorer.challenge import runwise
from explorer.challenge.data import Dataset
from explorer.challenge.model import Network, StackedMLP, initialize
from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer
from explorer.records.records import Phase, Run, Snapshot, Status
from explorer.training import devices, heap, memory
from explorer.training.graph import MOST, Leash, capture, tensors_of
from explorer.training.moving import Mover, one_kernel
from explorer.training.rehearsal import Rehearsal, duplicate, undisturbed_chance
from explorer.training.verdict import CODES, code, decide

log = logging.getLogger(__name__)


class Fleet:
    """R runs of one challenge and one optimizer: hyperparameter values × seeds, in the order given.

    Epoch by epoch: shuffle, for every batch `query_at_params`, forward, backward, `step`; then validation and test
    loss, divergence, best-validation snapshot and early stopping, decided per run on the device.  Runs that have ended
    keep their place; what they would do afterwards is not recorded.

    precision: float32; tf32, whose products on a CUDA device keep 11 bits of each factor and are faster; float64.
    `ValueError` names a setting that is not allowed, and says how many runs would fit a device that is too small.
    """

    joins = True
    """Whether an optimizer with one rule for all weights may move them where their gradients arise."""

    def __init__(
        self,
        challenge: Challenge,
        optimizer: Optimizer,
        seeds: int | Iterable[int],
        device: str = "auto",
        precision: str = "float32",
        max_epochs: int | None = None,
    ) -> None:
        self.challenge = challenge.replace(**({} if max_epochs is None else {"max_epochs": max_epochs}))
        self.optimizer = optimizer
        self.seeds = check_seeds(seeds)
        self.runs = tuple(Run(seed, values) for values in optimizer.grid() for seed in self.seeds)
        self.device, self.dtype, self.precision = devices.resolve(device), devices.precision(precision), precision
        _, make = _network(self.challenge, self.device, precision)
        memory.check(needed_a_run(self.challenge, optimizer, self.device, precision), len(self.runs), self.device)
        distinct = list(dict.fromkeys(self.seeds))
        drawn = side_by_side(self.challenge.dataset, distinct)
        self.datasets: dict[int, Dataset] = dict(zip(distinct, drawn, strict=True))
        self.seconds = 0.0
        self.epoch = 0
        self._reported = 0

        count = len(self.runs)
        self._seed = self._tensor([run.seed for run in self.runs], torch.int64)
        inputs = np.stack([self.datasets[run.seed].inputs for run in self.runs])
        targets = np.stack([self.datasets[run.seed].targets for run in self.runs])
        train = self.challenge.train_size
        self._train_inputs, self._heldout_inputs = self._tensor(inputs).split([train, inputs.shape[1] - train], 1)
        self._train_targets, self._heldout_targets = self._tensor(targets).split([train, inputs.shape[1] - train], 1)

        self.model = make(count)
        self.params = self.model.layout.zeros(count, self.device, self.dtype)
        initialize(self.challenge, self.params, self._seed)
        self.best = self.params.clone()
        """The parameters of each run's best epoch by validation loss: the model that is kept."""
        self._proposed: Tensors | None = None

        self._columns = {
            name: self._tensor([run.hyperparameters[name] for run in self.runs])
            for name in optimizer.fields()
            if optimizer.sweepable(name)
        }
        self._bound = optimizer.bind(self._columns)
        self._bound._batch = 0, len(self.challenge.batches())
        self.state = self._bound.init_state(self.params, self._seed)

        # What the device knows of every run; the host reads it in `snapshot` alone.  Column e is epoch e, from 1.
        self._now = torch.zeros((), dtype=torch.int64, device=self.device)
        self._losses = torch.full((3, count), torch.nan, device=self.device, dtype=self.dtype)
        self._records = self._losses.clone()
        self._history = self._losses[:, :, None].repeat(1, 1, self.challenge.max_epochs + 1)
        self._status = torch.zeros(count, dtype=torch.int64, device=self.device)
        self._epochs = torch.zeros(count, dtype=torch.int64, device=self.device)
        self._best_epoch = torch.zeros(count, dtype=torch.int64, device=self.device)
        self._best_val = torch.full((count,), torch.inf, device=self.device, dtype=self.dtype)
        self._improved = torch.zeros(count, dtype=torch.bool, device=self.device)

        on_cuda = self.device.type == "cuda"
        if not on_cuda:
            heap.keep_for(self)
        self.captured = on_cuda and optimizer.capturable
        """Whether an epoch is launched as one CUDA graph."""
        self._launches: dict[int | None, Callable[[], None]] = {}
        """Captured epochs, by the turn of the optimizer that they begin with."""
        self._seen: set[int | None] = set()
        """Turns with which an epoch has begun: kernel by kernel the first time, which is the capture's rehearsal."""
        self._pool = torch.cuda.graph_pool_handle() if self.captured else None
        self._leash = Leash() if on_cuda else None
        self._aside = torch.cuda.Stream(self.device) if on_cuda else None
        self._order = self._shuffle(self._now)
        ends = [self._status, self._epochs, self._best_epoch, self._best_val, self._improved]
        judged = [self._now, *self._losses, *self._records, *ends]
        self._decide = one_kernel("verdict", self._judged, judged) or partial(self._judged, *judged)
        self._move = Mover(
            self._bound, self._columns, self.state, self.params, self.model, self._now, self._losses,
            self.joins, optimizer.capturable,
        )  # fmt: skip

    @property
    def prepared(self) -> bool:
        """Whether the next epoch starts at once, without `prepare`."""
        turn = self._bound.turn(self.state)
        if not self.captured or turn in self._launches:
            return True
        return turn is not None and (turn not in self._seen or len(self._launches) >= MOST)

    def prepare(self) -> None:
        """Compile kernels and capture an epoch, where epochs are captured; takes a second or more, changes nothing."""
        if self.prepared:
            return
        batches, turn = self.challenge.batches(), self._bound.turn(self.state)
        rehearse = (lambda: self._train(batches[-2:])) if turn is None else None
        kept = (self.params, self.best, self.state, self._now, self._losses, self._history, self._order)
        ends = (self._status, self._epochs, self._best_epoch, self._best_val)
        with devices.at_work(self.device, self.precision):
            self._launches[turn] = capture(lambda: self._train(batches), rehearse, tensors_of((kept, ends)), self._pool)

    def advance(self, interrupted: Callable[[], bool] = lambda: False) -> bool:
        """Train one epoch; False if `interrupted()` became true between two batches, and the epoch was given up.

        A CUDA device may still be at work when this returns; a captured epoch is not given up once it is launched.
        """
        began = time.perf_counter()
        try:
            self.prepare()
            with devices.at_work(self.device, self.precision):
                batches, turn = self.challenge.batches(), self._bound.turn(self.state)
                launch = self._launches.get(turn)
                if launch is None:
                    if not self._train(batches, interrupted):
                        self._launches.clear()  # they begin where whole epochs lead
                        return False
                    self._seen.add(turn)
                elif interrupted():
                    return False
                else:
                    launch()
                    self._bound.replayed(self.state, len(batches))
                if self._leash is not None:
                    self._leash.launched()
            self.epoch += 1
            return True
        finally:
            self.seconds += time.perf_counter() - began

    def settle(self) -> None:
        """Wait until the device has done what was asked of it; the time counts as this fleet's."""
        if self.device.type == "cuda":
            began = time.perf_counter()
            torch.cuda.current_stream(self.device).synchronize()
            self.seconds += time.perf_counter() - began

    def tune(self, **hyperparameters: float) -> None:
        """Change hyperparameters of every run, from the next batch on; `ValueError` for one fixed at the start."""
        for name, value in hyperparameters.items():
            value = self.optimizer.check(name, value)
            if name not in self._columns:
                raise ValueError(f"{name} = {value!r} is fixed while a fleet runs: it applies at the next start.")
            self._columns[name].fill_(value)

    def stop(self, status: Status = Status.STOPPED) -> None:
        """End every run that still goes on."""
        self._status.masked_fill_(self._status == code(Status.RUNNING), code(status))

    def snapshot(self, generation: int = 0, phase: Phase = Phase.RUNNING, message: str = "") -> Snapshot:
        """The epochs since the last snapshot, and how every run stands (copies from the device, and waits for it)."""
        began = time.perf_counter()
        train, val, test = self._history[:, :, self._reported + 1 : self.epoch + 1].cpu().double().numpy()
        status = tuple(CODES[number] for number in self._status.tolist())
        epochs, best_epoch = self._epochs.cpu().numpy().copy(), self._best_epoch.cpu().numpy().copy()
        self.seconds += time.perf_counter() - began
        first, self._reported = self._reported + 1, self.epoch
        for array in (train, val, test, epochs, best_epoch):
            array.flags.writeable = False
        return Snapshot(
            generation,
            phase,
            first,
            train,
            val,
            test,
            status,
            epochs,
            best_epoch,
            self.seconds,
            devices.describe(self.device) + ("" if self.captured or self.device.type == "cpu" else ", uncaptured"),
            message,
        )

    def rehearse(self) -> Rehearsal:
        """What the next epoch's first batch would do; nothing of the fleet changes but what every batch overwrites."""
        start, end = self.challenge.batches()[0]
        weights, told = self.params.clone(), (self._now.clone(), *self._losses[:2].clone())
        proposal = updates = state = None
        with devices.at_work(self.device, self.precision), undisturbed_chance(self.device):
            order = self._shuffle(self._now)[:, start:end]
            x, y = _take(self._train_inputs, order), _take(self._train_targets, order)
            try:
                state = duplicate(self.state)
                proposed = self._bound.query_at_params(state, weights, *told)
                # A copy: what is proposed can be a part of the state, which the step changes.
                proposal = None if proposed is None else self._as_tensors(proposed).clone()
            except Exception:
                log.debug("A copy of the optimizer's state gives no proposal.", exc_info=True)
                state = None
            self.model.train_batch(weights if proposal is None else proposal, x, y, statistics=None)
            gradients = self.model.gradients.clone()
            if state is not None:
                try:
                    updates = self._bound.step(state, weights, self.model.gradients, *told)
                except Exception:
                    log.debug("A copy of the optimizer's state makes no step.", exc_info=True)
        return Rehearsal(weights, proposal, gradients, updates)

    def _train(self, batches: Sequence[tuple[int, int]], interrupted: Callable[[], bool] = lambda: False) -> bool:
        """One epoch over `batches`; False if it was given up."""
        following = None
        if self._aside is None:
            self._order = self._shuffle(self._now)
        else:  # the next epoch's order costs no time beside this epoch
            self._aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._aside):
                following = self._shuffle(self._now + 1)
        inputs, targets = _take(self._train_inputs, self._order), _take(self._train_targets, self._order)
        squared = []
        for place, (start, end) in enumerate(batches):
            if interrupted():
                return False
            self._bound._batch = place, len(batches)
            squared.append(self._batch(inputs[:, start:end], targets[:, start:end]))
        torch.sum(torch.cat(squared), dim=0, out=self._losses[0]).div_(targets[0].numel())
        self.model.losses(self.params, self._heldout_inputs, self._heldout_targets, self._losses[1:])
        if self._aside is not None and following is not None:
            torch.cuda.current_stream().wait_stream(self._aside)
            self._order.copy_(following)
        self._decide()
        self._history.index_copy_(2, self._now[None], self._records[:, :, None])
        torch.where(self._improved[:, None], self.params.buffer, self.best.buffer, out=self.best.buffer)
        return True

    def _batch(self, x: Tensor, y: Tensor) -> Tensor:
        """One proposal, forward, backward and update; each run's summed squared error, in parts `[parts, R]`."""
        params, told = self.params, (self._now, self._losses[0], self._losses[1])
        with self._move.deferring():
            proposal = self._bound.query_at_params(self.state, params, *told)
        if proposal is None:
            squared = self.model.train_batch(params, x, y, params, self._move.whole)
        else:
            statistics = None if self.challenge.restore_statistics else params
            squared = self.model.train_batch(self._as_tensors(proposal), x, y, statistics, self._move.whole)
        self.update()
        return squared

    def update(self) -> None:
        """Move the parameters as the optimizer wants, given the gradients of the last batch."""
        self._move()

    def _as_tensors(self, proposal: Sequence[Tensor]) -> Tensors:
        if isinstance(proposal, Tensors):
            return proposal
        if self._proposed is None:
            self._proposed = self.params.zeros_like()
        for slot, proposed in zip(self._proposed, proposal, strict=True):
            slot.copy_(proposed)
        return self._proposed

    def _judged(self, now: Tensor, *rest: Tensor) -> None:
        decide(self.challenge, now, list(rest[:3]), list(rest[3:6]), *rest[6:])

    def _shuffle(self, epoch: Tensor) -> Tensor:
        """The runs' orders `[R, n]` in epoch `epoch`, from 0."""
        return permutations(self._seed, Stream.ORDER, epoch.expand(len(self.runs)), self.challenge.train_size)

    def _tensor(self, values: object, dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(values, dtype=dtype or self.dtype, device=self.device)


def check_seeds(seeds: int | Iterable[int]) -> list[int]:
    """Seeds as a list of plain ints; `ValueError` if there is none or one is not an integer from 0 to 2⁶² − 1."""
    listed = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    if not listed:
        raise ValueError("seeds = [] is not allowed: a fleet needs at least one seed.")
    for seed in listed:
        if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= int(seed) < 2**62:
            raise ValueError(f"seeds holds {seed!r}, which is not allowed: each must be an integer from 0 to 2^62 - 1.")
    return [int(seed) for seed in listed]


def needed_a_run(challenge: Challenge, optimizer: Optimizer, device: torch.device, precision: str) -> int:
    """Bytes of the device's memory that each run of such a fleet takes at most, to first order."""
    network, _ = _network(challenge, device, precision)
    return memory.bytes_a_run(challenge, optimizer, network, devices.precision(precision))


def _network(
    challenge: Challenge, device: torch.device, precision: str
) -> tuple[type[Network], Callable[[int], Network]]:
    """How to compute the networks here: their class, and what makes one for a number of runs."""
    if runs_kernels(device):
        from explorer.challenge.fused import FusedMLP, supports

        if supports(challenge, device, precision):
            return FusedMLP, lambda runs: FusedMLP(challenge, runs, device, precision)
    if runwise.supports(challenge, device, precision):
        return runwise.RunwiseMLP, lambda runs: runwise.RunwiseMLP(challenge, runs, device)
    return StackedMLP, lambda runs: StackedMLP(challenge, runs, device, devices.precision(precision))


def _take(samples: Tensor, order: Tensor) -> Tensor:
    """`samples [R, n, D]` in each run's `order [R, n]`."""
    return samples.gather(1, order[:, :, None].expand(-1, -1, samples.shape[2]))

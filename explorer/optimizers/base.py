"""What an optimizer is: three functions over a fleet's tensors, and hyperparameters declared once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, ClassVar, Self

import param
import torch
from torch import Tensor

from explorer.base.declared import Declared
from explorer.base.tensors import Tensors, column, from_leaves, leaves, zeros_like

State = dict[str, Any]
"""An optimizer's memory: named tensors, each with a leading run axis or 0-d, or lists of them."""


class Optimizer(Declared):
    """Base of every optimizer.

    A subclass sets `key` (the name people type), declares its hyperparameters as `param` fields and writes the
    challenge's functions.  All tensors carry a leading run axis `R`; a kernel reads its hyperparameters with
    `self.symbols(...)`, which gives one value a run.  State is updated in place, without reading values on the host,
    so that a whole epoch can be captured in a CUDA graph; set `capturable = False` where that is impossible.

    A hyperparameter given as a list is a *sweep*: `create("adam", lr=[1e-4, 1e-3])` stands for one run a value.
    """

    key: ClassVar[str]
    capturable: ClassVar[bool] = True
    proposes: ClassVar[bool] = False
    """Whether every gradient is taken at a proposal.  Where the challenge puts running statistics back after a proposal
    too (`restore_statistics`), such an optimizer never trains them: the network is judged with those it began with."""
    uniform: ClassVar[bool] = False
    """Whether this class's own `step` moves every weight by itself and all by one rule, so that one tensor of all
    weights may stand for the list: to be said beside `step`."""
    sees_gradients: ClassVar[bool] = True
    """Whether this class's own `move` looks at gradients, rather than handing them on: to be said beside `move`."""
    rates: ClassVar[tuple[str, ...]] = ("lr",)
    """The hyperparameters that a schedule scales."""
    _batch: tuple[int, int] = (0, 1)
    """Which of its epoch's batches this is, from 0, and how many there are: a fleet says so before `move`.

    It is what an optimizer could count; so what changes from epoch to epoch alone costs nothing in most batches."""

    def __init__(self, **values: Any) -> None:
        self._columns: dict[str, Tensor] = {}
        self._scale: Tensor | None = None
        self._made: dict[str, Tensor] = {}  # in an epoch's first batch, for the others
        lists = {name: list(value) for name, value in values.items() if _is_list(value)}
        for name, swept in lists.items():
            if not swept:
                raise ValueError(f"{name} = [] is not allowed: a sweep needs at least one value.")
            if not self.sweepable(name):
                raise ValueError(f"{name} = {swept!r} is not allowed: {name} is one value for the whole fleet.")
            lists[name] = [self.check(name, value) for value in swept]
        self._sweeps = lists
        super().__init__(**(values | {name: swept[0] for name, swept in lists.items()}))

    def init_state(self, params: Sequence[Tensor], seed: Tensor) -> State:
        """The state before the first step.

        params: the model, each `[R, ...]`.  seed: int64 `[R]`, this optimizer's own stream.
        """
        raise NotImplementedError

    def query_at_params(
        self, state: State, params: Sequence[Tensor], epoch: Tensor, train_loss: Tensor, val_loss: Tensor
    ) -> Sequence[Tensor] | None:
        """Parameters at which this batch's gradient should be taken, or None for the current ones.

        The original parameters come back before `step`.  epoch: 0-d, from 0.  Losses: `[R]`, last epoch's, NaN in the
        first.
        """
        return None

    def step(
        self,
        state: State,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        epoch: Tensor,
        train_loss: Tensor,
        val_loss: Tensor,
    ) -> Sequence[Tensor]:
        """Updates, which the harness *adds* to the parameters; shapes as `params`."""
        raise NotImplementedError

    def move(
        self,
        state: State,
        params: Tensors,
        gradients: Tensors,
        epoch: Tensor,
        train_loss: Tensor,
        val_loss: Tensor,
    ) -> None:
        """What a fleet does instead of `step`: add the updates to `params`, in place, and the same to all else.

        For those who can do so without writing all updates down; where one of a stack cannot, `step` is used.
        """
        raise NotImplementedError

    def turn(self, state: State) -> int | None:
        """Where in a cycle of the host's own decisions the next step is; None, as for most, if it decides nothing.

        For each value the first epoch that begins there is launched kernel by kernel, the second is captured, and that
        stands for all later ones: what is done but once needs a value of its own.
        """
        return None

    def cycle(self) -> int:
        """Epochs after which the host decides the same at the same batches again."""
        return 1

    def replayed(self, state: State, steps: int) -> None:
        """A captured epoch of `steps` steps has been launched: bring up to date what the host counts."""

    @classmethod
    def moves(cls) -> bool:
        """Whether there is a `move` beside every `step`: in the optimizer and in each of its modifiers."""
        return all("move" in vars(kind) for kind in cls._writers_of("step"))

    @classmethod
    def blind(cls) -> bool:
        """Whether no `move`, of the optimizer or a modifier, looks at gradients: a rule gets them where they arise."""
        return not any(vars(kind).get("sees_gradients", True) for kind in cls._writers_of("move"))

    @classmethod
    def steps_uniformly(cls) -> bool:
        """Whether each `step`, of the optimizer and of its modifiers, is uniform."""
        return all(vars(kind).get("uniform", False) for kind in cls._writers_of("step"))

    @classmethod
    def _writers_of(cls, method: str) -> list[type]:
        """The classes of a stack that write `method` themselves."""
        return [kind for kind in cls._kinds() if method in vars(kind)]

    @classmethod
    def _kinds(cls) -> list[type]:
        """The classes of a stack: the optimizer's, its modifiers', and what they are made of."""
        return [kind for kind in cls.__mro__ if issubclass(kind, Optimizer) and kind is not Optimizer]

    @classmethod
    def sweepable(cls, name: str) -> bool:
        """Whether `name` can differ between the runs of one fleet (real numbers can; switches and counts cannot)."""
        parameter = cls._parameter(name)
        return isinstance(parameter, param.Number) and not isinstance(parameter, param.Integer | param.Boolean)

    @property
    def sweeps(self) -> dict[str, list[float]]:
        """The hyperparameters that were given as lists."""
        return dict(self._sweeps)

    @property
    def values(self) -> dict[str, Any]:
        """Every hyperparameter, a list where it is swept."""
        return super().values | self._sweeps

    @property
    def described(self) -> str:
        """Its name and what differs from its defaults: `adam lr=0.01`."""
        fields, values = self.fields(), self.values
        changed = [f"{name}={values[name]}" for name in fields if values[name] != fields[name].default]
        return " ".join([self.key, *changed])

    @property
    def _title(self) -> str:
        return self.described

    def grid(self) -> list[dict[str, Any]]:
        """The hyperparameters of each run of a sweep, in the order given; one entry where nothing is swept."""
        plain = {name: getattr(self, name) for name in self.fields()}
        return [plain | dict(zip(self._sweeps, point, strict=True)) for point in product(*self._sweeps.values())]

    def bind(self, columns: Mapping[str, Tensor]) -> Self:
        """A copy whose hyperparameters are read from `columns`, one value a run (`[R]`)."""
        bound = type(self)(**{name: getattr(self, name) for name in self.fields()})
        bound._columns = dict(columns)
        return bound

    def symbols(self, *names: str, like: Tensor) -> tuple[Any, ...]:
        """The named hyperparameters, to be multiplied with `like [R, ...]`: floats, or `[R, 1, ...]` in a fleet."""
        return tuple(self._symbol(name, like) for name in names)

    def columns(self, *names: str, like: Tensor) -> tuple[Tensor, ...]:
        """The named hyperparameters as tensors `[R]`, as `like` is."""
        return tuple(torch.zeros_like(like) + value for value in self.symbols(*names, like=like))

    def _symbol(self, name: str, like: Tensor) -> Any:
        value = column(self._columns[name], like) if name in self._columns else getattr(self, name)
        return value * column(self._scale, like) if self._scale is not None and name in self.rates else value

    @contextmanager
    def scaled(self, factor: Tensor) -> Iterator[None]:
        """Within: every learning rate times `factor [R]`, on top of what scales it already."""
        before = self._scale
        self._scale = factor if before is None else before * factor
        try:
            yield
        finally:
            self._scale = before


class Elementwise(Optimizer):
    """An optimizer that moves every weight by itself.

    A subclass names its `memory`, tensors shaped as the parameters that start at zero, and writes `rule`.  Nothing else
    is needed; `rule` is handed a whole fleet's weights at once.
    """

    uniform = True
    sees_gradients = False
    memory: ClassVar[tuple[str, ...]] = ()
    at_once: Callable[[Tensor | None], object] | None = None
    """Set by a fleet: the rule on all of its weights, with this factor `[R]` of the learning rates."""

    def init_state(self, params, seed):
        return {name: zeros_like(params) for name in self.memory} | {"t": counter(params)}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        t = state["t"].add_(1)
        operands = (params, gradients, *(state[name] for name in self.memory))
        parts = [self.rule(p, g, t, *memory) for p, g, *memory in zip(*map(leaves, operands), strict=True)]
        return from_leaves(parts, params)

    def move(self, state, params, gradients, epoch, train_loss, val_loss):
        assert self.at_once is not None
        self.at_once(self._scale)

    def rule(self, p: Tensor, g: Tensor, t: Tensor, *memory: Tensor) -> Tensor:
        """The update of weights `p [R, ...]` with gradient `g` in step `t` (0-d, from 1); `memory` changes in place."""
        raise NotImplementedError


class Leafwise(Optimizer):
    """An optimizer whose updates come as `leaves` or `blocks` of the parameters do.

    A subclass writes `updates`; a fleet adds them to its weights as they are, without a copy in the whole layout.
    """

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        return from_leaves(self.updates(state, params, gradients), params)

    def move(self, state, params, gradients, epoch, train_loss, val_loss):
        (update,) = self.updates(state, params, gradients)
        params.flat.add_(update.flatten(1))

    def updates(self, state: State, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """What is to be added to each of the parameters' leaves or blocks."""
        raise NotImplementedError


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range) or (hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0)


def counter(params: Sequence[Tensor]) -> Tensor:
    """A step counter for a state: 0-d float64 zero on the parameters' device."""
    return torch.zeros((), dtype=torch.float64, device=params[0].device)


def host_counter() -> Tensor:
    """A step counter for a state that the host reads: 0-d int64 zero on the CPU, which `replayed` keeps up to date."""
    return torch.zeros((), dtype=torch.int64)


def counted(counter: Tensor) -> int:
    """What a `host_counter` has come to; `numpy` would refuse to read it from a device."""
    return int(counter.numpy())


def power(base: Any, exponent: Tensor, like: Tensor) -> Tensor:
    """`base ** exponent` computed in float64, in `like`'s type; base: a float or `[R, 1, ...]`; exponent: 0-d."""
    base = base if isinstance(base, Tensor) else torch.full((), base, dtype=torch.float64, device=like.device)
    return base.double().pow(exponent).to(like.dtype)

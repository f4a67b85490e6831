"""Any `torch.optim.Optimizer` class by its import path: `torch:Adafactor`, `pytorch_optimizer:Kron`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import param
import torch
from torch import Tensor

from explorer.base.tensors import Tensors, zeros_like
from explorer.optimizers.base import Optimizer
from explorer.optimizers.fields import rate

PATHS = {"torch": "torch.optim"}
"""Where a short name's optimizers are."""


class Adapter(Optimizer):
    """Base of the adapted: one instance of `wrapped` a run, each with parameters of its own.

    Instances keep their memory in Python objects and decide on the host, so none of this is captured.  Those with
    `train()` and `eval()` (Schedule-Free) are evaluated where `eval()` leads and asked for gradients where `train()`
    does.

    State: `instances`, one optimizer a run, and `models`, their parameters.
    """

    capturable = False
    wrapped: ClassVar[type[torch.optim.Optimizer]]
    arguments: ClassVar[dict[str, tuple[str, ...]]]
    """Which fields make up each argument of the class."""

    def init_state(self, params, seed):
        places = trained(params)
        models = [
            [torch.nn.Parameter(params[place][run].detach().clone()) for place in places] for run in range(len(seed))
        ]
        instances = [self.wrapped(model, **self._arguments(run, seed)) for run, model in enumerate(models)]
        return {"instances": instances, "models": models}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        if not self.proposes:
            return None
        proposal = [tensor.clone() for tensor in params]
        for run, (instance, model) in enumerate(zip(state["instances"], state["models"], strict=True)):
            self._set(model, params, run)
            instance.train()
            for place, weight in zip(trained(params), model, strict=True):
                proposal[place][run] = weight.detach()
        return proposal

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        updates = zeros_like(params)
        for run, (instance, model) in enumerate(zip(state["instances"], state["models"], strict=True)):
            if not self.proposes:
                self._set(model, params, run)
            for group in instance.param_groups:
                group.update({name: value for name, value in self._arguments(run, train_loss).items() if name in group})
            for place, weight in zip(trained(params), model, strict=True):
                weight.grad = gradients[place][run].clone()
            with torch.enable_grad():
                instance.step()
            if self.proposes:
                instance.eval()
            for place, weight in zip(trained(params), model, strict=True):
                updates[place][run] = weight.detach() - params[place][run]
        return updates

    def _arguments(self, run: int, like: Tensor) -> dict[str, Any]:
        def value(field: str) -> Any:
            (symbol,) = self.symbols(field, like=like)
            return symbol[run].item() if isinstance(symbol, Tensor) else symbol

        return {
            name: value(name) if fields == (name,) else tuple(map(value, fields))
            for name, fields in self.arguments.items()
        }

    @staticmethod
    def _set(model: list[torch.nn.Parameter], params: Sequence[Tensor], run: int) -> None:
        with torch.no_grad():
            for place, weight in zip(trained(params), model, strict=True):
                weight.copy_(params[place][run])


def trained(params: Sequence[Tensor]) -> list[int]:
    """Places of the tensors that are trained."""
    on = params.trainable if isinstance(params, Tensors) else [True] * len(params)
    return [place for place, trainable in enumerate(on) if trainable]


@cache
def adapt(path: str) -> type[Adapter]:
    """The optimizer class at `package:Class` as one of the explorer's; `ValueError` where there is none such.

    Numbers, switches and tuples of numbers (`betas` becomes beta1, beta2, …) among its arguments' defaults are
    hyperparameters; whatever else it takes stays at its default.
    """
    package, _, name = path.partition(":")
    try:
        module = import_module(PATHS.get(package, package))
    except ImportError as error:
        raise ValueError(
            f"optimizer = {path!r} is not available: {error}.  `pip install optimizer-explorer[optimizers]` brings "
            "pytorch_optimizer and schedulefree."
        ) from None
    wrapped = getattr(module, name, None)
    if not (isinstance(wrapped, type) and issubclass(wrapped, torch.optim.Optimizer)):
        raise ValueError(f"optimizer = {path!r} is not known: {module.__name__} has no torch.optim.Optimizer {name!r}.")
    closure = inspect.signature(wrapped.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(f"optimizer = {path!r} cannot run here: its step needs several gradients of one batch.")

    fields: dict[str, param.Parameter] = {}
    arguments: dict[str, tuple[str, ...]] = {}
    for argument in list(inspect.signature(wrapped).parameters.values())[1:]:
        made = _fields(argument.name, argument.default)
        if made:
            fields |= made
            arguments[argument.name] = tuple(made)
    members: dict[str, Any] = {
        "key": path,
        "composed": True,
        "wrapped": wrapped,
        "arguments": arguments,
        "proposes": callable(getattr(wrapped, "train", None)) and callable(getattr(wrapped, "eval", None)),
        "__doc__": f"{module.__name__}.{name}, one instance a run; not captured, so slow where there are many runs.",
        "__module__": __name__,
    }
    return type(name, (Adapter,), fields | members)


def _fields(name: str, default: Any) -> dict[str, param.Parameter]:
    doc = f"{name}, as the library documents it."
    if isinstance(default, bool):
        return {name: param.Boolean(default, doc=doc)}
    if isinstance(default, int) and name not in {"lr", "weight_decay", "momentum"}:
        return {name: param.Integer(default, doc=doc)}
    if isinstance(default, int | float):
        return {name: rate(default, doc) if name == "lr" else param.Number(default, doc=doc)}
    if isinstance(default, tuple) and default and all(isinstance(part, int | float) for part in default):
        stem = "beta" if name == "betas" else name
        return {f"{stem}{index}": param.Number(part, doc=doc) for index, part in enumerate(default, start=1)}
    return {}

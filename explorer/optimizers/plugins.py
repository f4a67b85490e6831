"""An optimizer from a person's own file: the challenge's three functions, or an `Optimizer` class."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from explorer.base.tensors import Tensors
from explorer.optimizers.base import Optimizer

FUNCTIONS = ("optimizer_init_state", "optimizer_query_at_params", "optimizer_step")
TEMPLATE = Path(__file__).parent / "templates" / "plugin.py"
"""A plug-in file to start from."""


class Functions(Optimizer):
    """Base of optimizers made of a file's three functions.

    The file is called with the whole fleet, `[R, …]` everywhere, and on the host, so nothing is captured.  What it
    returns is looked at before it is used: `ValueError` with a sentence where a tensor is missing, misshapen or not
    finite though what the function was given is.

    State: `file`, whatever the file's `optimizer_init_state` returned.
    """

    capturable = False
    functions: ClassVar[tuple[Callable, Callable | None, Callable]]

    def init_state(self, params, seed):
        sizes = [tensor[0].numel() for tensor in params]
        return {"file": self.functions[0](seed.clone(), sizes, list(params))}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        query = self.functions[1]
        proposal = query(state["file"], list(params), *_told(epoch, train_loss, val_loss)) if query else None
        return None if proposal is None else looked_at(FUNCTIONS[1], proposal, params, [params])

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        given = list(params), list(gradients)
        updates = self.functions[2](state["file"], *given, *_told(epoch, train_loss, val_loss))
        return looked_at(FUNCTIONS[2], updates, params, given)


def _told(epoch: Tensor, train_loss: Tensor, val_loss: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """What a file is told: the epoch on the host, and no losses in the first."""
    epoch = epoch.cpu()
    return (epoch, None, None) if epoch == 0 else (epoch, train_loss, val_loss)


def looked_at(
    function: str, returned: Any, params: Sequence[Tensor], given: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """What a file's `function` returned, tensors like `params`; `ValueError` where it is not what it must be.

    given: what the function was given; where that is finite, so must be what comes back.
    """
    names = params.names if isinstance(params, Tensors) else [f"tensor {place}" for place in range(len(params))]
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        raise ValueError(f"{function} returned {type(returned).__name__}, not a list of tensors.")
    if len(returned) != len(params):
        raise ValueError(
            f"{function} returned {len(returned)} tensors; there are {len(params)}, {names[0]} to {names[-1]}."
        )
    for name, tensor, param in zip(names, returned, params, strict=True):
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{function} returned {type(tensor).__name__} for {name}, not a tensor.")
        if tensor.shape != param.shape:
            raise ValueError(
                f"{function} returned shape {list(tensor.shape)} for {name}; it must be {list(param.shape)}."
            )
    healthy = _finite_runs(*given)
    broken = healthy & ~_finite_runs(returned)
    if broken.any():
        run = int(broken.nonzero()[0])
        name = next(name for name, tensor in zip(names, returned, strict=True) if not tensor[run].isfinite().all())
        raise ValueError(f"{function} returned NaN or infinity for {name} in run {run}, given finite numbers.")
    return list(returned)


def _finite_runs(*lists: Sequence[Tensor]) -> Tensor:
    """For each run, whether all its numbers are finite: bool `[R]`."""
    return torch.stack([tensor.flatten(1).isfinite().all(dim=1) for tensors in lists for tensor in tensors]).all(dim=0)


def load_class(path: str | Path) -> type[Optimizer]:
    """The optimizer that the Python file at `path` defines, under the file's name or its class's `key`.

    `ValueError` where there is no such file, it raises, or it defines neither `optimizer_init_state` and
    `optimizer_step` nor exactly one `Optimizer` class with a key.
    """
    file = Path(path)
    module = _imported(file)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Optimizer)
        and value.__module__ == module.__name__
        and "key" in vars(value)
    ]
    if len(classes) == 1:
        return classes[0]
    if classes:
        raise ValueError(f"{file.name} defines {len(classes)} optimizers with a key; it must be one.")
    init, query, step = (getattr(module, name, None) for name in FUNCTIONS)
    if init is None or step is None:
        missing = " and ".join(name for name in (FUNCTIONS[0], FUNCTIONS[2]) if not hasattr(module, name))
        raise ValueError(f"{file.name} has no {missing}, and no Optimizer class with a key.")
    members: dict[str, Any] = {
        "key": file.stem,
        "functions": (init, query, step),
        "__doc__": module.__doc__ or f"The functions of {file.name}.",
        "__module__": module.__name__,
    }
    made = type(file.stem, (Functions,), members)
    vars(module)["plugin"] = made  # kept by its module, as a class written in the file is
    return made


def _imported(file: Path) -> ModuleType:
    spec = spec_from_file_location(f"explorer_plugin_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"plugin = {str(file)!r} is not a Python file.")
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module.__name__]
        raise ValueError(f"{file.name} could not be loaded: {type(error).__name__}: {error}") from error
    return module

"""What torch operations are in Triton's words: an expression for every element, of those of the operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

TYPES = {
    torch.bfloat16: "tl.bfloat16",
    torch.float32: "tl.float32",
    torch.float64: "tl.float64",
    torch.int64: "tl.int64",
    torch.bool: "tl.int1",
}
_FORMULAS = {
    "abs": "tl.abs({0})",
    "add": "{0} + {1}",
    "bitwise_and": "{0} & {1}",
    "bitwise_not": "{0} == 0",
    "bitwise_or": "{0} | {1}",
    "bitwise_xor": "{0} ^ {1}",
    "clone": "{0}",
    "copy_": "{1}",
    "cos": "tl.cos({0})",
    "eq": "{0} == {1}",
    "exp": "tl.exp({0})",
    "fill_": "{1}",
    "ge": "{0} >= {1}",
    "gt": "{0} > {1}",
    "le": "{0} <= {1}",
    "lerp": "tl.where(tl.abs({2}) < 0.5, {0} + {2} * ({1} - {0}), {1} - ({1} - {0}) * (1.0 - {2}))",
    "log": "tl.log({0})",
    "lt": "{0} < {1}",
    "masked_fill": "tl.where({1}, {2}, {0})",
    "maximum": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "minimum": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "mul": "{0} * {1}",
    "ne": "{0} != {1}",
    "neg": "-{0}",
    "remainder": "{0} - {1} * tl.floor({0} / {1})",
    "rsub": "{1} - {0}",
    "sign": "tl.where({0} > 0, 1.0, tl.where({0} < 0, -1.0, 0.0))",
    "sub": "{0} - {1}",
    "where": "tl.where({0}, {1}, {2})",
    "__rshift__": "{0} >> {1}",
    "_to_copy": "{0}",
}
_FORMULAS |= {"clamp_min": _FORMULAS["maximum"], "clamp_max": _FORMULAS["minimum"]}
_FORMULAS |= {"logical_and": "{0} & {1}", "logical_or": "{0} | {1}", "logical_not": "{0} == 0"}
"""An aten operation, without its overload, as an expression of its operands."""
_OTHERS = {
    "addcdiv",
    "addcmul",
    "clamp",
    "div",
    "full",
    "full_like",
    "pow",
    "reciprocal",
    "rsqrt",
    "scalar_tensor",
    "sqrt",
}
_COPIES = {"clone", "copy_", "_to_copy"}

_SIGN = "tl.where({1} != tl.floor({1}), float('nan'), 1.0 - 2.0 * tl.abs({1} - 2.0 * tl.floor({1} * 0.5)))"
_POWER = (
    "tl.where({1} == 0, 1.0, tl.where({0} < 0, " + _SIGN + ", 1.0)"
    " * tl.exp({1}.to(tl.float64) * tl.log(tl.abs({0}).to(tl.float64))))"
)
"""By logarithms; of a negative number by its amount, with the sign that a whole exponent gives it."""

_CONSTANTS = {"zeros_like": 0, "zeros": 0, "ones_like": 1, "ones": 1, "zero_": 0}


class Unfusable(Exception):
    """The code does something that is not elementwise, or that is not known here."""


def known(name: str) -> bool:
    """Whether an operation may have an expression."""
    return name in _CONSTANTS or name in _FORMULAS or name in _OTHERS or name.rstrip("_") in {*_FORMULAS, *_OTHERS}


def expression(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    dtype: torch.dtype,
    few: bool,
    named: Callable[[Tensor], tuple[str, torch.dtype]],
) -> str:
    """What operation `name` gives, of type `dtype`, where `named` tells what each tensor is called; or `Unfusable`.

    few: whether there are few elements, so that float64 costs nothing.
    """

    def operand(value: Any, wanted: torch.dtype) -> str:
        if not isinstance(value, Tensor):
            return _number(value, wanted)
        called, has = named(value)
        return called if has is wanted else f"{called}.to({TYPES[wanted]})"

    if name in _CONSTANTS or name in ("full", "full_like", "scalar_tensor"):
        return operand(_CONSTANTS[name] if name in _CONSTANTS else args[0 if name == "scalar_tensor" else 1], dtype)
    operands = [arg for arg in args if isinstance(arg, Tensor | int | float)]
    allowed = {"alpha", "value", "dtype", "device", "layout", "memory_format"}
    if (len(operands) < len(args) and name != "clamp") or kwargs.keys() - allowed:
        raise Unfusable(f"{name} with {args} and {kwargs}")
    compute = dtype
    if dtype is torch.bool and len(operands) == 2:
        compute = torch.result_type(*operands)  # pyright: ignore[reportArgumentType, reportCallIssue]
    plain = name.rstrip("_")
    if compute is torch.bfloat16 and name not in _COPIES:
        raise Unfusable(f"{name} in bfloat16")
    sums = plain in ("add", "sub", "rsub")
    if (sums and compute is torch.bool) or (plain == "bitwise_not" and compute is not torch.bool):
        raise Unfusable(f"{name} in {compute}")
    if sums and len(operands) > 2:
        raise Unfusable(f"{name} with a factor among its operands")
    if plain.startswith("logical_"):
        if dtype is not torch.bool:
            raise Unfusable(f"{name} into {dtype}")
        compute = torch.bool
    types = [compute] * len(operands)
    if name in ("where", "masked_fill", "masked_fill_"):
        types[0 if name == "where" else 1] = torch.bool
    texts = [operand(*pair) for pair in zip(operands, types, strict=True)]
    return f"({_formula(name, args, kwargs, compute, few).format(*texts)}).to({TYPES[dtype]})"


def _number(value: float, dtype: torch.dtype) -> str:
    """A number of Python's, of a type of Triton's."""
    number = repr(value) if abs(value) < float("inf") else f"float('{value}')"
    return f"tl.full((), {number}, {TYPES[dtype]})"


def _formula(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: torch.dtype, few: bool) -> str:
    """Operation `name`, with `{0}`, `{1}` … where its operands go, all of type `dtype`."""
    name = name if name in _FORMULAS else name.rstrip("_")
    double = dtype is torch.float64
    divide = "({} / {})" if double else "tl.div_rn({}, {})"
    root = "tl.sqrt({0})" if double else "tl.sqrt_rn({0})"
    one = f"tl.full((), 1.0, {TYPES[dtype]})"
    powers = {2: "{0} * {0}", 3: "{0} * {0} * {0}", 1: "{0}", 0.5: root, -0.5: divide.format(one, root)}
    if name in ("add", "sub", "rsub") and kwargs.get("alpha", 1) != 1:
        factor = _number(kwargs["alpha"], dtype)
        return {"add": "{0} + F * {1}", "sub": "{0} - F * {1}", "rsub": "{1} - F * {0}"}[name].replace("F", factor)
    if name in ("addcmul", "addcdiv"):
        factor = _number(float(kwargs.get("value", 1)), dtype)
        return "{0} + " + factor + (" * {1} * {2}" if name == "addcmul" else " * " + divide.format("{1}", "{2}"))
    if name == "remainder" and not double:
        raise Unfusable("a remainder that float64 does not hold")
    if name == "div":
        return divide.format("{0}", "{1}")
    if name == "reciprocal":
        return divide.format(one, "{0}")
    if name in ("sqrt", "rsqrt"):
        return powers[0.5 if name == "sqrt" else -0.5]
    if name == "pow":
        if isinstance(args[1], int | float) and args[1] in powers:
            return powers[args[1]]
        if dtype.is_floating_point and (double or few):
            return _POWER
    if name == "clamp":
        low, high = (*args[1:], None)[:2]
        text = "{0}" if low is None else _FORMULAS["maximum"]
        return (
            text
            if high is None
            else _FORMULAS["minimum"].replace("{1}", "{1}" if low is None else "{2}").replace("{0}", text)
        )
    if name not in _FORMULAS:
        raise Unfusable(name)
    return _FORMULAS[name]

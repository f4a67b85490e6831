"""Expressions of a lesson: arithmetic and comparisons over `Facts`, read without running any code of the file."""

from __future__ import annotations

import ast
import inspect
import operator
import re
from collections.abc import Callable
from typing import Any

from explorer.lessons.facts import FLAGS, INSIDE, NUMBERS, WORDS, Facts
from explorer.records import LOSSES

Value = Callable[[Facts], Any]

ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
NAMES = {"number": NUMBERS, "flag": FLAGS, "loss": LOSSES, "quantity": INSIDE}
"""What a word's argument of that name may be; `name` may be any setting."""
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def parse(text: str) -> Value:
    """The function that `text` spells; `ValueError` with a sentence where it is none.

    Allowed are numbers, texts, + − * /, comparisons, `and`, `or`, `not`, and the words of `Facts`: those without
    arguments alone (`finished`), the others with theirs in brackets (`median(test_loss, lane=2)`).
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{text!r} is not an expression: {error.msg}.") from None
    return _made(tree.body, text)


def filled(text: str, facts: Facts, spell: Callable[[float], str]) -> str:
    """`text` with the value of each expression in braces."""
    return PLACEHOLDER.sub(lambda found: _spelt(parse(found[1])(facts), spell), text)


def check_text(text: str) -> None:
    """`ValueError` if an expression in braces is none."""
    for found in PLACEHOLDER.finditer(text):
        parse(found[1])


def _spelt(value: Any, spell: Callable[[float], str]) -> str:
    if isinstance(value, str | int):
        return str(value)
    return re.sub(r"(\.\d*?)0+(?=e|$)", r"\1", spell(value)).replace(".e", "e").rstrip(".")  # 37, not 37.0


def _made(node: ast.expr, text: str) -> Value:
    def made(part: ast.expr) -> Value:
        return _made(part, text)

    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return lambda facts: value
        case ast.Name(id=name):
            return _word(name, [], {}, text)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=which):
            return _word(name, arguments, {part.arg or "**": part.value for part in which}, text)
        case ast.BoolOp(op=op, values=parts):
            every, parts = (all if isinstance(op, ast.And) else any), [made(part) for part in parts]
            return lambda facts: every(part(facts) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            inner = made(part)
            return lambda facts: not inner(facts)
        case ast.UnaryOp(op=ast.USub(), operand=part):
            inner = made(part)
            return lambda facts: -inner(facts)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            above, below = made(left), made(right)
            return lambda facts: _ratio(above(facts), below(facts))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            first, act, second = made(left), ARITHMETIC[type(op)], made(right)
            return lambda facts: act(first(facts), second(facts))
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in COMPARISONS for op in ops):
            values, tests = [made(part) for part in (left, *rest)], [COMPARISONS[type(op)] for op in ops]

            def compare(facts: Facts) -> bool:
                found = [value(facts) for value in values]
                return all(test(one, other) for test, one, other in zip(tests, found, found[1:], strict=False))

            return compare
    raise ValueError(f"{ast.unparse(node)!r} in {text!r} is not allowed in a lesson.")


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")


def _word(name: str, arguments: list[ast.expr], which: dict[str, ast.expr], text: str) -> Value:
    """A call of one of the words; its named arguments choose runs, lanes or layers."""
    if name not in WORDS:
        raise ValueError(f"{name!r} in {text!r} is not known: it must be one of {', '.join(WORDS)}.")
    word = WORDS[name]
    declared = list(inspect.signature(word).parameters.values())[1:]
    wanted = [each.name for each in declared if each.kind is not each.VAR_KEYWORD]
    if len(arguments) != len(wanted):
        said = ", ".join(wanted) or "nothing"
        raise ValueError(f"{name!r} in {text!r} takes {said} in its brackets.")
    if which and len(wanted) == len(declared):
        raise ValueError(f"{name!r} in {text!r} takes no named arguments.")
    given = [_argument(each, part, text) for each, part in zip(wanted, arguments, strict=True)]
    chosen = {}
    for key, part in which.items():
        if not isinstance(part, ast.Constant) or isinstance(part.value, bool | str):
            raise ValueError(f"{key} in {text!r} must be a plain number.")
        chosen[key] = part.value
    return lambda facts: word(facts, *(one(facts) for one in given), **chosen)


def _argument(wanted: str, part: ast.expr, text: str) -> Value:
    if wanted == "value":
        return _made(part, text)
    if not isinstance(part, ast.Name):
        raise ValueError(f"{ast.unparse(part)!r} in {text!r} must be a name.")
    allowed = NAMES.get(wanted)
    if allowed is not None and part.id not in allowed:
        raise ValueError(f"{part.id!r} in {text!r} is not known: it must be one of {', '.join(allowed)}.")
    return lambda facts: part.id

"""Random numbers that agree everywhere, and declared fields."""

import re

import numpy as np
import param
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import batch_order, hashed_bits

from explorer.base.declared import Declared, Log
from explorer.base.random import Stream, bits, permutations, uniform
from explorer.base.tensors import Layout, Slot, Tensors, stacked


def int64(*values):
    return torch.tensor(values, dtype=torch.int64)


@given(seed=st.integers(0, 2**62 - 1), stream=st.sampled_from(list(Stream)), counter=st.integers(0, 2**62))
def test_bits_are_splitmix(seed, stream, counter):
    found = bits(int64(seed), stream, int64(counter)).item()
    assert found % 2**64 == hashed_bits(seed, stream, counter)


def test_uniform_is_uniform_and_streams_are_separate():
    counters = torch.arange(20_000)
    draws = [uniform(int64(seed), stream, counters).numpy() for seed in (0, 1, 2) for stream in Stream]
    for drawn in draws:
        assert drawn.min() >= 0
        assert drawn.max() < 1
        # Five standard errors of the mean and of the variance of 20,000 uniform numbers.
        assert abs(drawn.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / 20_000)
        assert abs(drawn.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / 20_000)
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)


def test_permutations_are_those_of_the_reference():
    orders = permutations(int64(0, 7), Stream.ORDER, int64(3, 3), 100)
    assert orders.tolist() == [batch_order(0, 3, 100), batch_order(7, 3, 100)]
    assert sorted(orders[0].tolist()) == list(range(100))
    assert orders[0].tolist() != orders[1].tolist()


class Sample(Declared):
    """One field of each kind."""

    rate = Log(1.0, bounds=(0, 10), inclusive_bounds=(False, True))
    share = param.Number(0.5, bounds=(0, 1), inclusive_bounds=(True, False))
    free = param.Number(0.0)
    size = param.Integer(4, bounds=(1, 8))
    flag = param.Boolean(False)
    kind = param.Selector(default="a", objects=["a", "b", 1])
    title = param.String("x")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("rate", 0, "a number above 0 up to 10"),
        ("rate", float("nan"), "a number above 0 up to 10"),
        ("share", 1, "a number from 0 to below 1"),
        ("share", "0.5", "a number from 0 to below 1"),
        ("free", float("inf"), "a number"),
        ("free", True, "a number"),
        ("size", 9, "an integer from 1 to 8"),
        ("size", 2.0, "an integer from 1 to 8"),
        ("size", True, "an integer from 1 to 8"),
        ("flag", 1, "true or false"),
        ("kind", "c", "one of a, b, 1"),
        ("kind", True, "one of a, b, 1"),
        ("title", 3, "text"),
    ],
)
def test_a_bad_value_gets_a_sentence_and_changes_nothing(field, value, allowed):
    sample = Sample()
    before = sample.values
    sentence = f"{field} = {value!r} is not allowed: it must be {allowed}."
    for attempt in (
        lambda: setattr(sample, field, value),
        lambda: Sample(**{field: value}),
        lambda: sample.replace(**{field: value}),
    ):
        with pytest.raises(ValueError, match=rf"^{re.escape(sentence)}$"):
            attempt()
    assert sample.values == before


def test_an_unknown_field_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^colour is not a setting of Sample; its settings are: rate, share, free"):
        Sample(colour=1)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("rate", "1e-3", 1e-3),
        ("size", "3", 3),
        ("flag", "True", True),
        ("flag", "0", False),
        ("kind", "b", "b"),
        ("kind", "1", 1),
        ("title", "3", "3"),
    ],
)
def test_parse_reads_text(field, text, value):
    parsed = Sample.parse(field, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("field", "text"), [("rate", "abc"), ("rate", "nan"), ("size", "2.5"), ("flag", "yes"), ("kind", "c"), ("size", "")]
)
def test_parse_refuses_with_the_same_sentence(field, text):
    with pytest.raises(ValueError, match=rf"^{field} = .* is not allowed: it must be "):
        Sample.parse(field, text)


def test_numpy_scalars_become_plain_python():
    sample = Sample(size=np.int64(3), rate=np.float32(0.5))
    assert sample.values["size"] == 3
    assert type(sample.size) is int
    assert type(sample.rate) is float


def test_a_stack_is_a_view_where_tensors_lie_evenly_apart():
    slots = [Slot(f"{kind}{layer}", (4, 4) if kind == "w" else (4,), layer < 3) for layer in range(4) for kind in "wb"]
    layout = Layout(slots)
    tensors = Tensors(layout, torch.randn(3, layout.size, generator=torch.Generator().manual_seed(0)))
    for indices, shared in (([0, 2, 4], True), ([2], True), ([0, 2, 6], False)):
        found = stacked(tensors, indices)
        torch.testing.assert_close(found, torch.stack([tensors[index] for index in indices], dim=1), rtol=0, atol=0)
        assert (found.data_ptr() == tensors[indices[0]].data_ptr()) == shared
        assert stacked(list(tensors), indices).equal(found)
    assert stacked(Tensors(layout, tensors.buffer[1:]), [0, 2]).equal(stacked(tensors, [0, 2])[1:])

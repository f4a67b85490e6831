"""The line for a device: who trains now, who waits, and that nobody waits for ever."""

import time

import numpy as np
import pytest
from puppets import TINY, Descent
from test_worker import Listener

import explorer as ex
from explorer.records import Fault, Phase, Place
from explorer.training import line as lines
from explorer.training import memory
from explorer.training.line import Line, Turn
from explorer.training.plan import Plan

SMALL = ex.Challenge.preset(
    "tig", num_hidden_layers=2, width=8, train_size=64, batch_size=16, max_epochs=10_000, patience=10_000
)
PLAN = Plan.of(SMALL, Descent(lr=1e-6), (0,), device="cpu")


def turns(line, sessions):
    called = []
    return called, [Turn(line, session, lambda name=name: called.append(name)) for name, session in enumerate(sessions)]


def test_so_many_train_and_the_others_wait_in_the_order_of_coming():
    line = Line(2, lambda: 0)
    called, each = turns(line, "abcde")
    assert [turn.take() for turn in each] == [0, 0, 1, 2, 3]
    assert [turn.take() for turn in each] == [0, 0, 1, 2, 3]
    each[3].leave()  # somebody in the middle goes home
    assert each[4].take() == 2
    each[0].leave()
    assert called == [2]
    assert (each[2].take(), each[4].take(), line.lengths) == (0, 1, (2, 1))


def test_a_session_that_trains_already_comes_after_those_that_do_not():
    line = Line(2, lambda: 0)
    called, (greedy, other, again, more, late) = turns(line, ["greedy", "other", "greedy", "greedy", "late"])
    assert (greedy.take(), other.take(), again.take(), more.take()) == (0, 0, 1, 2)
    assert late.take() == 1  # though it came last
    assert again.take() == 2
    other.leave()
    assert called == [4]


def test_a_turn_passes_on_after_its_slice_only_when_somebody_waits(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: clock[0])
    line = Line(1, lambda: 0)
    called, (first, second) = turns(line, "ab")
    first.take()
    clock[0] = 100.0
    first.pass_on()
    assert first.take() == 0
    second.take()
    first.pass_on()
    assert called == [1]
    assert first.take() == 1
    clock[0] += lines.SLICE / 2
    second.pass_on()
    assert second.take() == 0
    clock[0] += lines.SLICE
    second.pass_on()
    assert (called, first.take()) == ([1, 0], 0)


def test_memory_is_waited_for_while_others_train_and_promised_but_once(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: clock[0])
    line = Line(4, lambda: 10)
    _, (first, second, third, fourth) = turns(line, "abcd")
    assert first.take(99) == 0  # alone: the fleet's own check says why it cannot be
    first.needed = 6
    assert second.take(6) == 1  # 12 would be too many, though 10 are free
    assert third.take(3) == 0  # somebody smaller passes
    first.settled()
    third.settled()
    assert second.take(6) == 0
    second.settled()
    assert fourth.take(11) == 1
    clock[0] = lines.MEMORY_PATIENCE + 1
    assert fourth.take(11) == 0


@pytest.fixture
def one_at_a_time(monkeypatch):
    monkeypatch.setattr(lines, "_lines", {})
    monkeypatch.setattr(lines, "_at_once", None)
    lines.limit(1)
    listeners = [Listener() for _ in range(3)]
    yield listeners
    closed = [listener.worker.close() for listener in listeners]
    assert all(closed)
    assert set(lines.lengths().values()) <= {(0, 0)}, "somebody left without leaving the line"


def test_three_workers_share_one_place_evenly_and_are_told_where_they_stand(one_at_a_time, monkeypatch):
    monkeypatch.setattr(lines, "SLICE", 0.3)
    for listener in one_at_a_time:
        listener.worker.start(PLAN)
    began = time.monotonic()
    while time.monotonic() - began < 4:
        for listener in one_at_a_time:
            listener.listen()
        time.sleep(0.01)
    epochs = [listener.epoch for listener in one_at_a_time]
    assert min(epochs) > 0.2 * max(epochs), epochs  # a busy machine gives unevenly
    places = {record.place for listener in one_at_a_time for record in listener.of(Place)}
    assert places == {0, 1, 2}
    curves = [listener.curve(1)[:, : min(epochs)] for listener in one_at_a_time]
    np.testing.assert_array_equal(curves[0], curves[1])


def test_a_pause_a_pace_and_an_end_give_the_place_to_the_next(one_at_a_time, monkeypatch):
    monkeypatch.setattr(lines, "SLICE", 1000.0)
    first, second, third = one_at_a_time
    first.worker.start(PLAN)
    first.until(lambda: first.epoch >= 1)
    second.worker.start(PLAN)
    second.until(lambda: second.of(Place))
    assert second.records[-1] == Place(1, 1, "cpu")
    first.worker.pause()
    second.until(lambda: second.epoch >= 1)
    third.worker.start(PLAN)
    third.until(lambda: third.of(Place))
    second.worker.set_pace(5.0)
    third.until(lambda: third.epoch >= 1)
    third.worker.close()
    second.worker.set_pace(None)
    second.until(lambda: second.epoch >= 20)


def test_what_is_stopped_in_the_line_never_starts(one_at_a_time, monkeypatch):
    monkeypatch.setattr(lines, "SLICE", 1000.0)
    first, second, _ = one_at_a_time
    first.worker.start(PLAN)
    first.until(lambda: first.epoch >= 1)
    second.worker.start(PLAN)
    second.until(lambda: second.of(Place))
    second.worker.stop()
    second.until(lambda: second.of(Place)[-1].given_up)
    first.worker.stop()
    first.until(lambda: first.phase is Phase.STOPPED)
    second.settle()
    assert second.phase is None


def test_too_large_a_fleet_is_refused_at_once_where_nobody_could_leave_it_memory(one_at_a_time, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 1000)
    first, *_ = one_at_a_time
    first.worker.start(Plan.of(TINY, Descent(), (0,), device="cpu"))
    first.until(lambda: first.of(Fault))
    assert "memory, and 0.0 GiB are free; at most 0 would fit" in first.of(Fault)[0].message


def test_a_large_fleet_waits_for_the_memory_of_another(one_at_a_time, monkeypatch):
    lines.limit(2)
    first, second, _ = one_at_a_time
    first.worker.start(PLAN)
    first.until(lambda: first.epoch >= 1)
    left = [1000]
    monkeypatch.setattr(memory, "free", lambda device: left[0])
    second.worker.start(PLAN)
    second.until(lambda: second.of(Place))
    second.settle(0.5)
    assert second.phase is None
    left[0] = 1 << 30
    second.until(lambda: second.epoch >= 1)

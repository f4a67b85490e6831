"""Who waits for an answer goes before who trains."""

from types import SimpleNamespace

import pytest
from test_worker import PLAN, Listener

from explorer.training import courtesy, worker


class Clock:
    """Time that passes only while somebody sleeps; `then` happens at its moments."""

    def __init__(self, then):
        self.now, self._then = 100.0, dict(then)

    def sleep(self, seconds):
        self.now += seconds
        for moment in [moment for moment in self._then if moment <= self.now]:
            self._then.pop(moment)()


@pytest.fixture
def passing(monkeypatch):
    """Set the clock; what it says before `give_way` returns, from the last sign of the server on."""

    def held(late, then=()):
        clock = Clock(then)
        monkeypatch.setattr(courtesy, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.sleep))
        monkeypatch.setattr(courtesy, "_heard", None if late is None else clock.now - late)
        courtesy.give_way()
        return clock.now - 100

    return held


def test_training_holds_from_when_the_server_is_late_until_it_is_heard_again(passing):
    assert passing(None) == 0  # there is no server
    assert passing(0.9 * courtesy.LATE) == 0
    assert passing(2 * courtesy.LATE, {100.5: courtesy.here}) == pytest.approx(0.5, abs=courtesy.EVERY)


def test_a_server_that_stands_still_ends_no_training(passing):
    assert passing(1e6) == pytest.approx(courtesy.AT_MOST, abs=courtesy.EVERY)


def test_a_worker_gives_way_before_each_batch(monkeypatch):
    asked = []
    monkeypatch.setattr(worker.courtesy, "give_way", lambda: asked.append(None))
    listener = Listener()
    try:
        listener.worker.start(PLAN, paused=True)
        listener.worker.step()
        listener.until(lambda: listener.epoch == 1)
    finally:
        listener.worker.close()
    assert len(asked) >= 4  # batches of an epoch

"""A tournament while it goes on: what can be scored, how long it takes, the thread that holds it, finding it again."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tournament_tiny import TINY, spec, unit

from explorer.records import Phase
from explorer.tournament import Store, Tournament, estimate, here, parse
from explorer.tournament.estimate import Cost, Kind
from explorer.tournament.host import Host, Seat, _Job
from explorer.training import line
from explorer.training.line import Turn

ENDLESS = [{"name": "u", "settings": TINY | {"patience": 10_000}, "instances": [1], "targets": [1e-9]}]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "race.sqlite")


@pytest.fixture
def host():
    made = Host()
    yield made
    assert made.close()


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def follow(host, reports, phase):
    """Collect reports until one has this phase."""
    until(lambda: reports.extend(host.drain()) or any(report.phase is phase for report in reports))


# What can be scored


def test_what_nobody_has_come_to_is_not_missed(store):
    """Two submissions, a base and its variant, two studies: after each fleet, what all have done."""
    tournament = Tournament(parse(spec()), store)
    scored = []
    for _ in tournament.play(here("cpu")):
        part = tournament.comparable()
        cells = part.groupby("workload").study.nunique().to_dict() if len(part) else {}
        assert (part.groupby(["workload", "study"]).submission.nunique() == 2).all() if len(part) else True
        scored.append(cells)
    one, both = {"u": 1}, {"u": 1, "u_noise": 1}
    assert scored == [{}, one, one, both, both, both, both, {"u": 2, "u_noise": 2}]
    assert len(tournament.comparable()) == len(tournament.table())


def test_a_variant_waits_for_its_own_base(store):
    """`u_b_noise` is of `u_b`, although it begins with `u` too."""
    base, noise = spec()["workloads"]
    workloads = [base, noise | {"name": "u_b_noise"}, base | {"name": "u_b"}]
    tournament = Tournament(parse(spec(workloads=workloads)), store)
    seen = []
    for _ in tournament.play(here("cpu")):
        part = tournament.comparable()
        seen.append(set() if part.empty else set(part.workload))
    assert seen[3] == {"u"}
    assert seen[5] == {"u", "u_b", "u_b_noise"}


def test_there_are_no_scores_before_all_have_done_something(store):
    tournament = Tournament(parse(spec()), store)
    assert tournament.scores() is None
    next(tournament.play(here("cpu")))
    assert tournament.scores() is None


def test_a_miss_says_how_long_it_was_tried(store):
    tournament = Tournament(parse(spec()), store)
    for _ in tournament.play(here("cpu")):
        pass
    table = tournament.table()
    missed = np.isinf(table.epochs)
    assert 0 < missed.sum() < len(table)
    cells = table.assign(missed=missed).groupby(["ruleset", "submission", "study", "workload"])
    nobody = cells.missed.transform("all")
    assert 0 < nobody.sum() < missed.sum()
    assert (table.spent_epochs[nobody] == 30).all()
    ended = cells.epochs.transform("min")  # a study ends with its first trial that reaches the target
    assert (table.spent_epochs[~nobody] == ended[~nobody]).all()
    assert (table.spent_evaluations == 2 * table.spent_epochs).all()
    assert (table.spent_seconds > 0).all()
    assert (table.epochs[~missed] <= table.spent_epochs[~missed]).all()
    assert (table.seconds[~missed] <= table.spent_seconds[~missed] + 1e-6).all()


# How long it takes


def units(submissions="ab", workloads="uv", trials=(2,), max_epochs=100):
    return [
        unit(submission=name, workload=load, points=({},) * count, max_epochs=max_epochs, ruleset=f"r{count}")
        for count in trials
        for load in workloads
        for name in submissions
    ]


def test_every_submission_and_every_workload_is_sampled_once():
    found = estimate.samples(units("abc", "uvw", (1, 2)), {Kind("a", "v", 2)})
    kinds = [estimate.kind(one) for one in found]
    assert kinds == [
        ("a", "u", 1), ("b", "u", 1), ("c", "u", 1), ("a", "v", 1), ("a", "w", 1),
        ("a", "u", 2), ("b", "u", 2), ("c", "u", 2), ("a", "w", 2),
    ]  # fmt: skip


def test_a_kind_that_was_not_measured_is_scaled_from_those_that_were():
    """b costs three times a, v twice u: b on v is 6 s an epoch, and each fleet half a second to begin."""
    known = {("a", "u", 2): 1.0, ("b", "u", 2): 3.0, ("a", "v", 2): 2.0}
    costs = {Kind(*each): Cost(0.5, seconds) for each, seconds in known.items()}
    assert estimate.at_most(units(), costs) == pytest.approx(4 * 0.5 + 100 * (1 + 3 + 2 + 6))
    assert estimate.at_most(units(max_epochs=10)[:1], costs) == pytest.approx(0.5 + 10)
    assert np.isnan(estimate.at_most(units(), {}))
    assert estimate.at_most([], {}) == 0


def test_what_is_left_goes_by_what_has_ended(store):
    held = units("abc")
    ((_, outcome),) = here("cpu")([unit(max_epochs=2)])
    assert np.isnan(estimate.likely(held, {}))
    done = {held[0].key: replace(outcome, seconds=8.0), held[1].key: replace(outcome, seconds=2.0)}
    # c on u: 5, the mean on u.  On v: 5 each, the mean of all.
    assert estimate.likely(held, done) == pytest.approx(5 + 15)
    again = [*held, replace(held[0], study=1)]
    assert estimate.likely(again, done) == pytest.approx(5 + 15 + 8)


def test_a_tournament_is_timed_by_a_few_epochs(store):
    tournament = Tournament(parse(spec()), store)
    most = tournament.at_most("cpu")
    assert 0 < most < 120
    assert tournament.outcomes == {}
    assert store.held() == []
    list(tournament.play(here("cpu")))
    assert tournament.at_most("cpu") == 0
    assert len(tournament.costs("cpu")) == 4


# Held by a thread


def test_a_thread_holds_it_and_says_how_far_it_is(store, host):
    reports = []
    generation = host.start(parse(spec()), store, "cpu")
    follow(host, reports, Phase.FINISHED)
    assert {report.generation for report in reports} == {generation}
    assert reports[0].phase is Phase.PREPARING
    begun = [report.unit.key for report in reports if report.unit is not None and report.epoch == 1]
    assert begun == [one.key for one in parse(spec()).units()]
    assert Tournament(parse(spec()), store).pending == []


def test_paused_nothing_goes_on_and_stopped_it_can_be_continued(store, host):
    told = parse(spec(workloads=ENDLESS, max_epochs=10_000))
    reports = []
    host.start(told, store, "cpu")
    until(lambda: reports.extend(host.drain()) or any(report.epoch > 1 for report in reports))
    host.pause()
    follow(host, reports, Phase.PAUSED)
    time.sleep(0.5)
    assert host.drain() == []
    host.resume()
    resumed = []
    until(lambda: resumed.extend(host.drain()) or any(report.phase is Phase.RUNNING for report in resumed))
    assert resumed[0].epoch >= reports[-1].epoch
    host.pause()
    host.stop()  # also while it is paused
    follow(host, reports, Phase.STOPPED)
    assert host.close()
    assert len(Tournament(told, store).pending) == len(told.units())


def test_another_start_ends_the_first(store, host):
    reports = []
    host.start(parse(spec(workloads=ENDLESS, max_epochs=10_000)), store, "cpu")
    until(lambda: reports.extend(host.drain()) or any(report.epoch for report in reports))
    second = host.start(parse(spec()), store, "cpu")
    until(
        lambda: (
            reports.extend(host.drain())
            or any(report.generation == second and report.phase is Phase.FINISHED for report in reports)
        )
    )
    assert [report.phase for report in reports if report.generation == second - 1][-1] is Phase.STOPPED


def test_a_start_waits_until_the_one_before_has_ended():
    gone, reports = threading.Event(), []
    before = threading.Thread(target=gone.wait, daemon=True)
    before.start()
    job = _Job(2, reports.append, lambda job: job.tell(Phase.RUNNING), before, Seat("cpu", None))
    time.sleep(0.1)
    assert reports == []
    gone.set()
    job.thread.join(10)
    assert [report.phase for report in reports] == [Phase.RUNNING, Phase.FINISHED]


def test_a_tournament_takes_turns_with_other_sessions(store, host):
    """Another session holds the only place in the line: this one waits, and says so."""
    other = Turn(line.line(torch.device("cpu")), None, lambda: None)
    at_once = other.line.at_once
    other.line.at_once = 1
    reports = []
    try:
        assert other.take() == 0
        host.start(parse(spec()), store, "cpu")
        until(lambda: reports.extend(host.drain()) or any(report.place for report in reports))
        time.sleep(0.3)
        assert store.get(parse(spec()).units()) == {}
        other.leave()
        follow(host, reports, Phase.FINISHED)
        assert other.take() == 0  # it has left the line
    finally:
        other.leave()
        other.line.at_once = at_once


def test_measuring_says_what_every_kind_costs(store, host):
    reports = []
    host.measure(parse(spec()), store, "cpu")
    follow(host, reports, Phase.FINISHED)
    told = [report for report in reports if report.wanted]
    assert [len(report.costs) for report in told] == [0, 1, 2, 3]
    assert all(cost.epoch > 0 for _, cost in told[-1].costs)


def test_what_goes_wrong_is_a_sentence(store, host):
    reports = []
    host.start(parse(spec()), store, "cuda:99")
    follow(host, reports, Phase.FAILED)
    assert reports[-1].message.startswith("device = 'cuda:99' is not ")


# Found again


def test_a_tournament_is_found_again_and_goes_on(tmp_path, store):
    told = parse(spec())
    for place, _ in enumerate(Tournament(told, store).play(here("cpu"))):
        if place == 2:
            break
    store.close()
    (held,) = Store(tmp_path / "race.sqlite").held()
    assert (held.name, held.done, held.total) == ("tiny", 3, 8)
    again = parse(held.told)
    assert (again.key, again.units()) == (told.key, told.units())
    assert held.key == told.key


def test_what_others_train_is_seen(tmp_path, store):
    watched = Tournament(parse(spec()), store)
    assert not watched.refresh()
    for place, _ in enumerate(Tournament(parse(spec()), Store(tmp_path / "race.sqlite")).play(here("cpu"))):
        if place == 1:
            break
    assert watched.refresh()
    assert len(watched.outcomes) == 2


def test_a_forgotten_tournament_leaves_what_another_counts_on(store):
    small = spec(external={"studies": 1, "trials": 2}, name="small")
    list(Tournament(parse(spec()), store).play(here("cpu")))
    list(Tournament(parse(small), store).play(here("cpu")))
    assert [(held.name, held.done, held.total) for held in store.held()] == [("small", 4, 4), ("tiny", 8, 8)]
    store.forget(parse(spec()).key)
    assert [(held.name, held.done, held.total) for held in store.held()] == [("small", 4, 4)]
    assert len(store.get(parse(spec()).units())) == 4
    store.forget(parse(small).key)
    assert store.get(parse(spec()).units()) == {}


def test_the_store_of_runs_takes_tournaments_in(tmp_path, monkeypatch):
    from explorer.records.store import Store as Runs

    monkeypatch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path}/store.db")
    for first, second in ((Runs, Store), (Store, Runs)):
        first().close()
        second().close()
    assert Store().where == str(tmp_path / "store.db")

"""Films of a run's weights: which epochs they hold, that they hold what was there, and how much room they take."""

import pytest
import torch
from puppets import TINY, Descent, puppet

import explorer as ex
from explorer.records import Status
from explorer.training import Fleet
from explorer.training.film import Film


def filmed(fleet, film, epochs):
    """Train and film; the true weights and the kept ones by epoch."""
    seen = {0: (fleet.params.buffer[film.run].clone(), fleet.best.buffer[film.run].clone())}
    film.offer(fleet)
    for epoch in range(1, epochs + 1):
        assert fleet.advance()
        seen[epoch] = fleet.params.buffer[film.run].clone(), fleet.best.buffer[film.run].clone()
        film.offer(fleet)
    return seen


def descent(**values):
    return Fleet(TINY.replace(patience=1000, **values), Descent(lr=1e-2), [3, 4], device="cpu")


def literal_epochs(count, room):
    """What evenly thinned frames of epochs 0 … count leave, by trying every interval."""
    interval = 1
    while count // interval + 1 > room:
        interval *= 2
    return list(range(0, count + 1, interval))


@pytest.mark.parametrize("at_most", [2, 3, 6, 9])
@pytest.mark.parametrize("count", [1, 5, 8, 33])
def test_frames_are_evenly_spaced_from_the_start_and_end_with_the_end(at_most, count):
    fleet, film = descent(), Film(run=1, at_most=at_most)
    seen = filmed(fleet, film, count)
    spaced = literal_epochs(count, at_most - 1)
    assert [frame.epoch for frame in film.frames] == spaced
    film.close(fleet)
    assert [frame.epoch for frame in film.frames] == sorted({*spaced, count})
    assert len(film.frames) <= at_most
    told = film.told(1, 0)
    assert (told.run, told.first, told.frames, told.at_most) == (1, 0, len(film.frames), at_most)
    assert len(spaced) == 1 or told.interval == spaced[1]
    for frame in film.frames:
        params, best = seen[frame.epoch]
        assert torch.equal(frame.params, params)
        assert torch.equal(frame.best, best)


def test_a_film_stays_within_its_budget():
    fleet = descent()
    weight = 2 * fleet.params.buffer.shape[1] * 4
    film = Film(budget=7 * weight + 5)
    filmed(fleet, film, 40)
    film.close(fleet)
    assert sum(t.untyped_storage().nbytes() for frame in film.frames for t in (frame.params, frame.best)) <= 7 * weight
    assert [frame.epoch for frame in film.frames] == [0, 8, 16, 24, 32, 40]
    poor = Film(budget=1)
    poor.offer(fleet)
    poor.close(fleet)
    assert len(poor.frames) == 1


def test_the_latest_frame_at_an_epoch():
    fleet, film = descent(), Film(at_most=6)
    filmed(fleet, film, 11)
    film.close(fleet)
    assert [film.at(epoch).epoch for epoch in (0, 3, 4, 9, 10, 11, 99)] == [0, 0, 4, 8, 8, 11, 11]
    with pytest.raises(LookupError, match="Nothing was filmed"):
        film.at(-1)
    with pytest.raises(LookupError, match="Nothing was filmed"):
        Film().at(0)


def test_a_frame_is_a_model():
    fleet, film = descent(), Film(run=1)
    filmed(fleet, film, 3)
    model = film.tensors(film.at(3).params)
    assert model.names == fleet.params.names
    for own, whole in zip(model, fleet.params, strict=True):
        assert torch.equal(own, whole[1:2])


def test_a_film_that_is_closed_early_goes_on():
    fleet, film = descent(), Film(at_most=5)
    filmed(fleet, film, 7)
    film.close(fleet)
    assert [frame.epoch for frame in film.frames] == [0, 2, 4, 6, 7]
    for _ in range(2):
        fleet.advance()
        film.offer(fleet)
    assert [frame.epoch for frame in film.frames] == [0, 4, 8]
    film.close(fleet)
    assert [frame.epoch for frame in film.frames] == [0, 4, 8, 9]


def two_runs(at_most, epochs):
    """The first of two runs ends after epoch 5, the other goes on; its weights by epoch."""
    scripts = [[3.0, 2.0, 1.0, *(float(epoch) for epoch in range(4, 40))], [20 - 0.1 * epoch for epoch in range(40)]]
    fleet, film = Fleet(TINY.replace(patience=2), puppet(*scripts), [0], "cpu"), Film(run=0, at_most=at_most)
    return fleet, film, filmed(fleet, film, epochs)


def ends_where_the_run_ended(film, seen, epochs):
    assert [frame.epoch for frame in film.frames] == epochs
    assert torch.equal(film.frames[-1].params, seen[5][0])
    assert not torch.equal(film.frames[-1].params, seen[6][0])
    assert torch.equal(film.frames[-1].best, seen[3][0])


def test_a_run_that_ends_before_the_others_is_filmed_to_its_end():
    fleet, film, seen = two_runs(at_most=6, epochs=9)
    assert fleet.snapshot().epochs.tolist()[0] == 5
    film.close(fleet)
    ends_where_the_run_ended(film, seen, [0, 2, 4, 5])
    fleet.advance()
    film.offer(fleet)
    ends_where_the_run_ended(film, seen, [0, 2, 4, 5])


def test_the_end_can_be_told_late():
    """A worker hears of a run's end some epochs later: what the weights did since is not the run's."""
    fleet, film, seen = two_runs(at_most=6, epochs=9)
    film.end(5)
    fleet.advance()
    film.offer(fleet)
    film.close(fleet)
    ends_where_the_run_ended(film, seen, [0, 2, 4, 5])


def test_epochs_after_a_run_s_end_thin_nothing_out():
    fleet, film, seen = two_runs(at_most=8, epochs=30)
    film.close(fleet)
    ends_where_the_run_ended(film, seen, [0, 1, 2, 3, 4, 5])


def test_a_run_that_had_ended_when_it_was_chosen_is_not_filmed():
    fleet, film, _ = two_runs(at_most=6, epochs=9)
    late = Film(run=0)
    late.offer(fleet)
    fleet.advance()
    late.offer(fleet)
    late.close(fleet)
    assert late.frames == ()
    assert late.instance == film.instance
    other = Film(run=1)
    other.offer(fleet)
    assert [frame.epoch for frame in other.frames] == [10]


def test_an_epoch_that_was_given_up_leaves_no_trace():
    fleet = Fleet(TINY.replace(batch_size=4), Descent(lr=1e-2), [1], device="cpu")
    film = Film(at_most=3)
    seen = filmed(fleet, film, 3)
    assert film.frames[-1].epoch == 2
    checks = iter([False, False, True])
    assert not fleet.advance(lambda: next(checks))
    assert not torch.equal(fleet.params.buffer[0], seen[3][0])
    fleet.stop(Status.STOPPED)
    film.close(fleet)
    assert film.frames[-1].epoch == 3
    assert torch.equal(film.frames[-1].params, seen[3][0])


def test_films_of_one_instance_know_each_other():
    adam, sgd = ex.optimizers.create("adam"), Descent()
    films = {}
    for name, challenge, optimizer, seeds, run in [
        ("a", TINY, adam, [1, 2], 1),
        ("b", TINY.replace(patience=7), sgd, [2], 0),
        ("seed", TINY, sgd, [1, 2], 0),
        ("data", TINY.replace(noise_std=0.3), sgd, [2], 0),
    ]:
        films[name] = Film(run)
        films[name].offer(Fleet(challenge, optimizer, seeds, "cpu"))
    assert films["a"].instance == films["b"].instance
    assert films["a"].instance != films["seed"].instance
    assert films["a"].instance != films["data"].instance


@pytest.mark.gpu
def test_frames_from_a_device_are_what_was_there():
    """Copies are on their way while training goes on: each must hold its own epoch."""
    challenge = ex.Challenge.preset("tig")
    fleet = Fleet(challenge, ex.optimizers.create("adam"), range(4), device="cuda")
    film, truth = Film(run=2, at_most=20), []
    film.offer(fleet)
    truth.append(fleet.params.buffer[2].clone())
    for _ in range(60):
        fleet.advance()
        film.offer(fleet)
        truth.append(fleet.params.buffer[2].clone())
    film.close(fleet)
    assert [frame.epoch for frame in film.frames] == literal_epochs(60, 19) + ([] if 60 % film.interval == 0 else [60])
    for frame in film.frames:
        assert frame.params.device.type == "cpu"
        assert torch.equal(frame.params, truth[frame.epoch].cpu())

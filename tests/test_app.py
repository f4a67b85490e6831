"""The app's parts without a browser."""

import numpy as np
import pytest

import explorer as ex
from explorer.app import address, figures, words
from explorer.app.controls import Controls
from explorer.app.session import Session
from explorer.records import Fault, History, Instances, Phase, Place, Run, Snapshot, Status


@pytest.fixture
def controls():
    made = Controls(lambda name: made_changes.append(name), complaints.append)
    return made


complaints: list[str] = []
made_changes: list[str] = []


@pytest.fixture(autouse=True)
def _fresh():
    complaints.clear()
    made_changes.clear()


def test_an_address_brings_back_every_setting(controls):
    query = (
        "?preset=brief&optimizer=adam&modify=clip,cosine&num_hidden_layers=7&accuracy_factor=1250.5&input_dims=2"
        "&restore_statistics=True&gradient_reduction=sum&lr=0.0001,0.003&cosine_warmup=5.0&seeds=3&first_seed=9"
        "&pace=10+epochs%2Fs&precision=float64"
    )
    assert controls.load(query, {}) == []
    assert controls.challenge.num_hidden_layers == 7
    assert controls.challenge.restore_statistics is True
    assert controls.entrant.built.sweeps == {"lr": [0.0001, 0.003]}
    assert controls.entrant.built.key == "adam+clip+cosine"
    assert controls.setup.seed_list == (9, 10, 11)
    again = Controls(lambda name: None, complaints.append)
    assert again.load(address.write(controls.values), {}) == []
    assert again.values == controls.values


def test_an_address_brings_back_every_lane(controls):
    query = (
        "?optimizer=muon&lr=0.02&name=Mine&lane2=optimizer%3Dadam%26modify%3Dclip%26lr%3D0.1%2C0.2"
        "&lane3=optimizer%3Dsgd&lane=2&hidden=3"
    )
    assert controls.load(query, {}) == []
    first, second, third = controls.lanes.entrants
    assert (first.label, first.built.key, first.built.lr) == ("Mine", "muon", 0.02)
    assert (second.built.key, second.built.sweeps) == ("adam+clip", {"lr": [0.1, 0.2]})
    assert (third.hidden, third.label) == (True, "sgd")
    assert controls.entrant is second
    assert controls._setup["optimizer"].widget.value == "adam"
    again = Controls(lambda name: None, complaints.append)
    assert again.load(address.write(controls.values), {}) == []
    assert again.values == controls.values


@pytest.mark.parametrize(
    "query",
    [
        "?lane2=optimizer%3Dnope",
        "?lane2=optimizer%3Dthis:Zen",
        "?lane2=%26%26",
        "?lane=7",
        "?hidden=x",
        "?lane2=optimizer%3Dadam%26lr%3Dx",
    ],
)
def test_bad_lanes_of_an_address_are_named_and_left_out(controls, query):
    (complaint,) = controls.load(query, {})
    assert "In the address: " in complaint
    assert len(controls.lanes.entrants) == 1


def test_lanes_are_added_duplicated_renamed_hidden_and_removed(controls):
    lanes = controls.lanes
    controls._hyper["lr"].widget.value = "0.5"
    lanes._add.clicks += 1
    assert [entrant.label for entrant in lanes.entrants] == ["adam lr=0.5", "adam lr=0.5"]
    controls._setup["optimizer"].widget.value = "sgd"
    lanes._name.value = "Plain"
    lanes._shown.value = False
    assert [(entrant.label, entrant.hidden) for entrant in lanes.entrants] == [("adam lr=0.5", False), ("Plain", True)]
    lanes._choice.value = lanes.entrants[0].key
    assert controls._setup["optimizer"].widget.value == "adam"
    assert controls._hyper["lr"].widget.value == "0.5"
    lanes._remove.clicks += 1
    assert [entrant.label for entrant in lanes.entrants] == ["Plain"]
    assert controls._setup["optimizer"].widget.value == "sgd"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?num_hidden_layers=abc", "num_hidden_layers = 'abc' is not allowed: it must be an integer from 1 to 20."),
        ("?num_hidden_layers=999", "num_hidden_layers = 999 is not allowed: it must be an integer from 1 to 20."),
        ("?num_hidden_layers=1", "which would freeze everything: it must be an integer from 2 to 20."),
        ("?accuracy_factor=nan", "accuracy_factor = nan is not allowed: it must be a number from 0 to below 4000."),
        ("?optimizer=nope", "optimizer = 'nope' is not allowed: it must be one of"),
        ("?preset=nope", "preset = 'nope' is not allowed: it must be one of tig, brief."),
        ("?lr=-1", "lr = -1.0 is not allowed: it must be a number from 0"),
        ("?modify=nope", "modifier = 'nope' is not known: it must be one of"),
        ("?seeds=1000", "seeds = 1000 is not allowed: it must be an integer from 1 to 256."),
        ("?color=red", "color is not a setting; it was ignored."),
    ],
)
def test_a_bad_entry_of_an_address_is_named_and_the_rest_taken(controls, query, said):
    before = controls.values
    (complaint,) = controls.load(query + "&noise_std=0.1", {})
    assert said in complaint
    assert controls.values == before | {"noise_std": 0.1}


def test_a_widget_refuses_a_bad_value_with_a_sentence_and_keeps_the_last_good_one(controls):
    field = controls._hyper["lr"]
    field.widget.value = "nan"
    assert complaints == ["lr = nan is not allowed: it must be a number from 0 to 1e+09."]
    assert float(field.widget.value) == ex.optimizers.create("adam").lr
    assert field.widget.error_state
    field.widget.value = "1e-2, 3e-2"
    assert controls.entrant.built.sweeps == {"lr": [0.01, 0.03]}
    assert not field.widget.error_state
    assert made_changes == ["lr"]


def test_another_optimizer_brings_its_own_hyperparameters(controls):
    controls._setup["optimizer"].widget.value = "sgd"
    assert set(controls._hyper) == set(ex.optimizers.get("sgd").fields())
    controls._stack.value = ["clip"]
    assert "clip_norm" in controls._hyper
    controls._hyper["lr"].widget.value = "0.5"
    controls._stack.value = []
    assert controls.entrant.hyperparameters["lr"] == 0.5


def test_a_preset_keeps_the_difficulty(controls):
    controls._challenge["num_hidden_layers"].widget.value = 9
    controls._challenge["noise_std"].widget.value = "0.1"
    controls._setup["preset"].widget.value = "brief"
    assert controls.challenge.values == ex.Challenge.preset("brief", num_hidden_layers=9).values


def test_words_with_commas_and_tags_survive_an_address():
    written = address.write({"lr": [0.1, 0.2], "pace": "10 epochs/s", "note": "<b>&=?"})
    taken = {}
    setters = {name: lambda text, name=name: taken.update({name: text}) for name in ("lr", "pace", "note")}
    assert address.read(written, lambda: setters) == []
    assert taken == {"lr": "0.1,0.2", "pace": "10 epochs/s", "note": "<b>&=?"}


class Puppet:
    """A worker that says what it is told to."""

    def __init__(self):
        self.records = []
        self.generation = 0

    def drain(self):
        records, self.records = self.records, []
        return records

    def start(self, plan, paused=False):
        self.generation += 1
        return self.generation

    preview = start

    def set_pace(self, pace):
        pass


def snapshot(generation, first, count, status=Status.RUNNING, phase=Phase.RUNNING):
    losses = [np.full((1, count), value) for value in (0.3, 0.2, 0.1)]
    end = np.array([first + count - 1])
    return Snapshot(generation, phase, first, *losses, (status,), end, end, 1.0, "CPU")


def session(challenge=None):
    from explorer.training.experiment import Started
    from explorer.training.plan import Plan

    made = Session()
    made._worker = Puppet()
    challenge = challenge or ex.Challenge.preset("tig")
    made.start(Plan.of(challenge, ex.optimizers.create("adam"), (0,)))
    made.worker.records = [
        Started(1, ((Run(0, {"lr": 1e-3}),),)),
        Instances(1, np.array([0.04]), np.array([0.041]), np.array([0.04]), np.array([0.09])),
    ]
    assert made.drain()
    return made


def test_records_of_an_older_start_are_dropped():
    made = session()
    made.worker.records = [snapshot(1, 1, 3)]
    assert made.drain()
    assert made.history.epoch == 3
    made.start(made.plan)
    made.worker.records = [snapshot(1, 4, 2), Fault(1, "old")]
    assert not made.drain()
    assert made.history is None
    assert made.message == ""


def test_the_accuracy_factor_moves_threshold_and_verdict_without_a_new_start():
    made = session()
    made.worker.records = [snapshot(1, 1, 3)]
    made.drain()
    assert made.outcomes.passed.all()
    assert made.threshold == pytest.approx([0.32])
    made.set_accuracy_factor(3000)
    assert made.threshold == pytest.approx([0.08])
    assert not made.outcomes.passed.any()
    assert made.outcomes.alpha[0] == pytest.approx(0.1 / 0.08)


def test_a_fault_is_told():
    made = session()
    made.worker.records = [Fault(1, "The device ran out of memory.")]
    made.drain()
    assert made.phase is Phase.FAILED
    assert made.message == "The device ran out of memory."
    assert not made.busy


def test_cards_say_what_the_outcomes_say():
    made = session()
    assert "–" in figures.cards(made, made.outcomes)
    made.worker.records = [snapshot(1, 1, 3)]
    made.drain()
    text = figures.cards(made, made.outcomes)
    for part in ("<dd>3</dd>", "<dd>Pass</dd>", "<dd>0.100</dd>", "<dd>0.320</dd>", "<dd>1.25</dd>", "<dd>0.688</dd>"):
        assert part in text
    made.set_accuracy_factor(3900)
    assert "<dd>Not yet</dd>" in figures.cards(made, made.outcomes)
    made.worker.records = [snapshot(1, 4, 0, Status.STOPPED, Phase.STOPPED)]
    made.drain()
    assert "<dd>Fail</dd>" in figures.cards(made, made.outcomes)


def test_chances_are_computed_from_floors_and_threshold():
    challenge = ex.Challenge()
    noise = np.array([0.04, 0.04])
    impossible = Instances(1, noise, np.array([0.8, 1.2]), noise, np.full(2, np.nan))
    said = words.chances(challenge, impossible, np.array([0.16, 0.16]))
    assert said.startswith("No optimizer can expect to pass this")
    assert "1.00, 6.25 times the threshold of 0.160" in said
    possible = Instances(1, noise, np.array([0.05, 0.05]), noise, np.full(2, np.nan))
    assert words.chances(challenge, possible, np.array([0.16, 0.16])).startswith("Within reach")
    frozen = Instances(1, noise, np.array([0.05, 0.05]), noise, np.full(2, 0.2))
    assert "near a test error of 0.200, above the threshold" in words.chances(challenge, frozen, np.full(2, 0.16))
    unknown = Instances(1, noise, np.full(2, np.nan), noise, noise)
    assert words.chances(challenge, unknown, noise) == ""


def test_the_ending_counts_runs_by_how_they_ended():
    history = History([Run(seed, {}) for seed in range(3)])
    losses = [np.ones((3, 4))] * 3
    status = (Status.DIVERGED, Status.EARLY_STOPPED, Status.EARLY_STOPPED)
    history.append(Snapshot(1, Phase.FINISHED, 1, *losses, status, np.array([1, 3, 4]), np.array([0, 1, 1]), 1, "CPU"))
    from explorer.training.result import outcomes

    noise = np.ones(3)
    table = outcomes(ex.Challenge(), history, Instances(1, noise, noise, noise, noise))
    assert words.ending(table) == "1 diverged at epoch 1, 2 early-stopped at epochs 3 to 4"
    assert words.ending(table[:1]) == "diverged at epoch 1"


@pytest.mark.parametrize(
    ("number", "device", "said"),
    [
        (1, "cpu", "1st in line for the CPU"),
        (2, "cpu", "2nd in line for the CPU"),
        (3, "cuda", "3rd in line for the GPU"),
        (12, "cpu", "12th in line for the CPU"),
        (21, "cpu", "21st in line for the CPU"),
    ],
)
def test_the_place_in_the_line_is_said_as_people_say_it(number, device, said):
    assert words.place(Place(1, number, device)) == said


def test_a_session_knows_its_place_until_its_turn_comes():
    session = Session()
    told = iter([[Place(5, 2, "cpu")], [Place(5, 0, "cpu")], [Place(5, 0, "cpu", given_up=True)]])
    session._worker, session._generation, session.phase = Told(told), 5, Phase.PREPARING
    assert not session.drain()
    assert session.place == Place(5, 2, "cpu")
    assert session.phase is Phase.PREPARING
    session.drain()
    assert session.place is None
    assert session.drain()
    assert session.phase is Phase.STOPPED


class Told:
    """A worker's end that only tells."""

    def __init__(self, records):
        self._records = records

    def drain(self):
        return next(self._records)

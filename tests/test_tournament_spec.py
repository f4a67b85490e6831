"""Specs are validated before anything runs, in sentences."""

import inspect
import json
from pathlib import Path

import pytest
from tournament_tiny import TINY, spec, toml

from explorer import optimizers
from explorer.tournament import load, named, names, parse
from explorer.tournament import spec as spec_module
from explorer.tournament import targets as rule

PLUGIN = """
def optimizer_init_state(seed, param_sizes, model_params):
    return None

def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    return [-1e-3 * gradient for gradient in gradients]
"""


def first(**changes):
    """The spec with its first submission changed."""
    submissions = spec()["submissions"]
    return spec(submissions=[submissions[0] | changes, *submissions[1:]])


def second(**changes):
    """The spec with its first workload changed."""
    workloads = spec()["workloads"]
    return spec(workloads=[workloads[0] | changes, *workloads[1:]])


def test_a_file_and_its_values_are_one(tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(toml(spec()))
    assert load(file).units() == parse(spec()).units()
    told = spec()
    del told["name"]
    file.write_text(toml(told))
    assert load(file).name == "tiny"


def test_a_spec_says_what_is_done():
    told = parse(spec(rulesets=["external", "self_tuning"], self_tuning={"studies": 1, "budget": 2.0}))
    assert [ruleset.key for ruleset in told.rulesets] == ["external", "self_tuning"]
    units = told.units()
    assert len(units) == 2 * 2 * 2 + 2 * 2
    tuned = [unit for unit in units if unit.ruleset == "self_tuning"]
    assert {unit.max_epochs for unit in tuned} == {60}
    assert all(unit.points == ({},) for unit in tuned)
    adam = next(unit for unit in units if unit.submission == "adam")
    assert [run["beta1"] for run in adam.optimizer().grid()] == [0.8, 0.8]
    assert all(1e-3 <= run["lr"] <= 1e-1 for run in adam.optimizer().grid())
    assert adam.challenge().max_epochs == 30
    # All submissions of a study are given the same instances, starts and orders.
    assert len({unit.seeds for unit in units if unit.workload == "u" and unit.study == 0}) == 1
    assert len({unit.seeds for unit in units if unit.workload == "u"}) == 2


def test_defaults_are_the_rulesets_own():
    told = parse({"submissions": [{"optimizer": "adam"}], "workloads": spec()["workloads"][:1]})
    assert told.rulesets[0].values == {"studies": 3, "trials": 5, "span": 10.0}
    assert (told.max_epochs, told.precision, told.baseline) == (1000, "float32", "")


def test_modifiers_and_names():
    told = parse(first(modify=["clip", "cosine:warmup=10"], name="mine"))
    assert told.submissions[0].name == "mine"
    assert told.submissions[0].entry.create().key == "adam+clip+cosine"
    assert parse(first(modify="clip")).submissions[0].name == "adam+clip"


def test_another_default_is_other_work(monkeypatch):
    told = spec(rulesets=["external", "self_tuning"], submissions=[{"optimizer": "adam"}], baseline="")

    def keys():
        return {(unit.ruleset, unit.study, unit.workload): unit.key for unit in parse(told).units()}

    before = keys()
    monkeypatch.setattr(optimizers.get("adam").param["beta2"], "default", 0.99)
    assert not set(before.values()) & set(keys().values())
    monkeypatch.undo()
    assert keys() == before


def test_a_plugin_is_looked_for_beside_the_spec(tmp_path):
    (tmp_path / "tournament_plugin.py").write_text(PLUGIN)
    told = spec(submissions=[{"plugin": "tournament_plugin.py"}, {"optimizer": "sgd"}])
    (tmp_path / "race.toml").write_text(toml(told))
    unit = load(tmp_path / "race.toml").units()[0]
    assert unit.submission == "tournament_plugin"
    assert unit.points == ({},)  # nothing to tune, so one trial
    with pytest.raises(ValueError, match="is not a Python file"):
        parse(told, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (spec(epochs=3), "epochs is not a setting of the spec; its settings are: baseline, external"),
        (spec(submissions=[]), r"submissions = \[\] is not allowed: it must be a list of at least one"),
        (spec(workloads="tig_4"), "workloads = 'tig_4' is not allowed"),
        (spec(rulesets=["open"]), "rulesets = 'open' is not allowed: it must be one of external, self_tuning"),
        (spec(rulesets=[]), r"rulesets = \[\] is not allowed"),
        (spec(rulesets=["external", "external"]), "'external' is twice in rulesets"),
        (spec(external={"trials": 0}), "trials = 0 is not allowed: it must be an integer from 1"),
        (spec(external={"tries": 2}), "tries is not a setting of External"),
        (spec(external=5), "external = 5 is not allowed in the spec: it must be a table"),
        (spec(max_epochs=0), "max_epochs = 0 is not allowed"),
        (spec(max_epochs=9000, rulesets=["self_tuning"]), "max_epochs = 13500 is not allowed"),
        (spec(precision="half"), "precision = 'half' is not known"),
        (spec(baseline="adamw"), "baseline = 'adamw' is not allowed: it must be one of adam, sgd"),
        (spec(instances=0), "instances = 0 is not allowed"),
        (spec(submissions=["adam"]), "submission 1 = 'adam' is not allowed: it must be a table"),
        (spec(submissions=[{"optimizer": "sgd"}] * 2), "'sgd' is twice in submissions"),
        (spec(submissions=[{"name": "x"}]), "submission 1 must have either optimizer = or plugin ="),
        (first(optimizer="adamm"), "optimizer = 'adamm' is not known"),
        (first(plugin="x.py"), "submission 1 must have either optimizer = or plugin ="),
        (first(lr=0.1), "lr is not a setting of submission 1; its settings are: modify, name"),
        (first(name=3), "name = 3 is not allowed in submission 1"),
        (first(modify=["clamp"]), "modifier = 'clamp' is not known"),
        (first(modify=3), "modify = 3 is not allowed: it must be a list of names"),
        (first(set={"beta1": 1.5}), r"beta1 = 1\.5 is not allowed"),
        (first(set={"gamma": 1.5}), "gamma is not a setting of Adam"),
        (first(set={"beta2": [0.9, 0.99]}), r"beta2 = \[0\.9, 0\.99\] is not allowed in submission 1: set takes one"),
        (first(space={"lr": 0.1}), r"lr = 0\.1 is not allowed in the space of submission 1: it must be \[lowest"),
        (first(space={"lr": [0.1, 0.01]}), r"lr = \[0\.1, 0\.01\] is not allowed .* the lowest must come first"),
        (first(space={"beta2": [0.1, 1.1]}), r"beta2 = 1\.1 is not allowed"),
        (first(space={"rate": [0.1, 1.1]}), "rate is not a setting of Adam"),
        (first(set={"lr": 0.1}), "lr is in both set and space of submission 1"),
        (first(optimizer="soap", set={}, space={"interval": [1, 5]}), "interval is not allowed in the space"),
        (spec(workloads=["tig_5"]), "workload = 'tig_5' is not known"),
        (spec(workloads=[7]), "workload = 7 is not allowed: it must be a name or a table"),
        (spec(workloads=[{"name": "u"}]), "workload = 'u' has no instances ="),
        (spec(workloads=spec()["workloads"][1:]), "workload = 'u_noise' is held out: its base workload must be in"),
        (spec(workloads=spec()["workloads"][:1] * 2), "'u' is twice in workloads"),
        (second(settings=TINY | {"depth": 3}), "depth is not a setting of Heat"),
        (second(settings=TINY | {"width": 0}), "width = 0 is not allowed"),
        (second(settings={"preset": "gig"}), "preset = 'gig' is not known"),
        (second(kind="bass"), "kind = 'bass' is not allowed: it must be one of base, held_out"),
        (second(name=""), "workload = '' is not allowed: its name must be text"),
        (second(name="v"), "workload = 'u_noise' is held out"),
        (second(instances=[1, 1, 2]), "1 is twice in instances of workload u"),
        (second(instances=[-1, 1, 2]), r"instances = \[-1, 1, 2\] is not allowed in workload u"),
        (second(instances=[2**32, 1, 2]), "instances = .* is not allowed in workload u: it must be integers"),
        (second(targets=[0, 1, 1]), r"targets = \[0, 1, 1\] is not allowed in workload u: it must be losses above 0"),
        (second(targets=[1, 1]), "workload u has 2 targets for 3 instances"),
        (second(seeds=[1]), "seeds is not a setting of workload u"),
    ],
)
def test_what_is_wrong_is_said(told, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(told)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"a = ", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read: No such file")],
)
def test_files_that_are_no_specs(tmp_path, content, sentence):
    file = tmp_path / "race.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        load(file)


def test_named_workloads_take_their_stored_targets(tmp_path):
    workload, file = named("tig_4_noise"), tmp_path / "targets.json"
    entry = {"settings": dict(workload.settings), "instances": list(workload.instances[:4]), "targets": [1, 2, 3, 4]}
    with pytest.raises(
        ValueError, match="'tig_4_noise' has no stored targets; make them with: explorer targets tig_4_"
    ):
        rule.with_targets(workload, None, file)
    rule.store("tig_4_noise", entry, file)
    assert rule.with_targets(workload, None, file).targets == (1, 2, 3, 4)
    assert rule.with_targets(workload, 3, file).targets == (1, 2, 3)
    assert rule.with_targets(workload, 3, file).instances == workload.instances[:3]
    with pytest.raises(ValueError, match=r"instances = 5 is not allowed with .* which has targets for 4"):
        rule.with_targets(workload, 5, file)
    rule.store("tig_4_noise", entry | {"settings": {"preset": "tig"}}, file)
    with pytest.raises(ValueError, match="has targets of other settings"):
        rule.with_targets(workload, 3, file)
    assert list(json.loads(file.read_text())) == ["tig_4_noise"]


def test_the_example_in_the_documentation_is_a_spec(tmp_path):
    text = inspect.getdoc(spec_module).partition("\n\n")[2]  # pyright: ignore[reportOptionalMemberAccess]
    (tmp_path / "race.toml").write_text(text)
    told = load(tmp_path / "race.toml")
    assert [submission.name for submission in told.submissions] == ["nadamw", "adam, clipped"]
    assert told.submissions[1].entry.create().key == "adam+clip+cosine"
    assert [len(unit.points) for unit in told.units() if unit.study == 0] == [2, 2, 2, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(("file", "fleets"), [("eight", 8 * 5 * 3), ("shelf", 2 * 5 * 3 * len(optimizers.names()))])
def test_the_specs_for_a_gpu_are_ready(file, fleets, monkeypatch):
    """As they will be read once `explorer targets` has made the targets that they want."""
    made = {
        name: {"settings": dict(named(name).settings), "instances": named(name).instances, "targets": [0.1] * 9}
        for name in names()
    }
    monkeypatch.setattr(rule, "stored", lambda file: made)
    told = load(Path(__file__).parent.parent / "assets" / "tournaments" / f"{file}.toml")
    units = told.units()
    assert len({unit.key for unit in units}) == fleets
    assert {len(unit.points) for unit in units if unit.ruleset == "external"} == {5}
    assert {len(unit.seeds) for unit in units} == {9}


def test_the_stored_targets_fit_their_workloads():
    stored = rule.stored()
    assert "tig_4" in stored
    for name, entry in stored.items():
        workload = rule.with_targets(named(name))
        assert len(workload.targets) == len(workload.instances) == entry["rule"]["instances"]
        assert all(0 < target < 10 for target in workload.targets)
        assert entry["optimizer"] in rule.CLASSICS
        assert entry["rule"]["reruns"] == 20

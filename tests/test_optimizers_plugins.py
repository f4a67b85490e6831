"""Optimizers from elsewhere: a person's own file, and any class of torch.optim's kind."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from optimizer_harness import TRAINED, agree, bind, drive, per_run, start, torch_run

import explorer as ex
from explorer import optimizers
from explorer.optimizers import contract
from explorer.optimizers.plugins import TEMPLATE

FILE = """
import torch

def optimizer_init_state(seed, param_sizes, model_params):
    assert param_sizes == [p[0].numel() for p in model_params]
    return {"steps": 0, "seed": seed}

def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    state["steps"] += 1
    assert (train_loss is None) == (val_loss is None) == (int(epoch) == 0)
    return [-0.05 * g for g in gradients]
"""


def written(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_with_the_functions_runs_as_the_same_rule_does(tmp_path):
    mine = optimizers.load(written(tmp_path, FILE, "plain_descent.py"))
    assert mine.key == "plain_descent"
    assert "plain_descent" in optimizers.names()
    assert contract.check(mine).broken == ()
    plain = drive(bind(optimizers.create("sgd", lr=0.05), 2), start(2), 20)
    for (ours, _), (theirs, _) in zip(drive(mine, start(2), 20), plain, strict=True):
        torch.testing.assert_close(ours.flat, theirs.flat, rtol=1e-12, atol=0)


def test_the_template_keeps_the_contract_and_trains(tmp_path):
    path = tmp_path / "made_new.py"
    shutil.copy(TEMPLATE, path)
    mine = optimizers.load(path)
    assert contract.check(mine).broken == ()
    result = ex.train(ex.Challenge.preset("tig", width=16), mine, seeds=range(2), max_epochs=3, device="cpu")
    assert list(result.outcomes.status) == ["max_epochs"] * 2
    assert result.outcomes.train_loss.notna().all()


def test_an_optimizer_class_in_a_file_is_loaded_swept_and_modified(tmp_path):
    text = TEMPLATE.read_text().replace("def optimizer_", "def unused_") + (
        "\nfrom explorer.optimizers.base import Elementwise\nfrom explorer.optimizers.fields import rate\n"
        "class Mine(Elementwise):\n    '''Mine.'''\n    key = 'my_own'\n    lr = rate(0.1, 'Rate.')\n"
        "    def rule(self, p, g, t):\n        return -self.symbols('lr', like=g)[0] * g\n"
    )
    mine = optimizers.load(written(tmp_path, text), modify="clip:norm=1", lr=[0.1, 0.2])
    assert mine.key == "my_own+clip"
    assert [point["lr"] for point in mine.grid()] == [0.1, 0.2]
    assert contract.check(optimizers.create("my_own")).broken == ()


def test_a_loaded_file_can_be_loaded_again_after_a_change(tmp_path):
    path = written(tmp_path, FILE, "changing.py")
    first = optimizers.load(path)
    path.write_text(FILE.replace("-0.05", "-0.5"))
    second = optimizers.load(path)
    assert type(optimizers.create("changing")) is type(second)
    (before, _), (after, _) = (next(drive(each, start(1), 1)) for each in (first, second))
    torch.testing.assert_close(after.flat - start(1).flat, 10 * (before.flat - start(1).flat), rtol=1e-9, atol=1e-12)


STEP = "    return [-0.05 * g for g in gradients]"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("    return [g / 0 for g in gradients]", "optimizer_step returned NaN or infinity for .* in run 0"),
        ("    return gradients[:-2]", "optimizer_step returned 18 tensors; there are 20, linears.0.weight to norms.2"),
        (
            "    return [g[0] for g in gradients]",
            r"returned shape \[16, 1\] for linears.0.weight; it must be \[2, 16, 1\]",
        ),
        ("    return None", "optimizer_step returned NoneType, not a list of tensors"),
        ("    return ['a'] * len(gradients)", "optimizer_step returned str for linears.0.weight, not a tensor"),
        ("    raise KeyError('momentum')", "KeyError: 'momentum'"),
    ],
)
def test_a_faulty_file_ends_its_runs_as_failed_with_a_sentence(tmp_path, change, sentence):
    mine = optimizers.load(written(tmp_path, FILE.replace(STEP, change), "faulty.py"))
    challenge = ex.Challenge.preset("tig", width=16, num_hidden_layers=3)
    outcomes = ex.train(challenge, mine, seeds=range(2), max_epochs=2, device="cpu").outcomes
    assert list(outcomes.status) == ["failed"] * 2
    assert outcomes.message.str.contains(sentence).all(), outcomes.message[0]
    assert contract.check(mine).broken != ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "has no optimizer_init_state and optimizer_step, and no Optimizer class with a key"),
        ("def optimizer_init_state(*a): pass", "has no optimizer_step, and"),
        ("import nothing_like_this", "could not be loaded: ModuleNotFoundError"),
        ("def", "could not be loaded: SyntaxError"),
        (
            "from explorer.optimizers import Optimizer\nclass A(Optimizer):\n    key = 'a'\nclass B(A):\n    key = 'b'",
            "defines 2 optimizers with a key; it must be one",
        ),
    ],
)
def test_a_file_that_is_no_optimizer_is_refused_with_a_sentence(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        optimizers.load(written(tmp_path, text, "refused.py"))


def test_a_file_must_be_there_and_not_take_a_name_that_is_taken(tmp_path):
    with pytest.raises(ValueError, match="is not a Python file"):
        optimizers.load(tmp_path / "absent.py")
    adam = optimizers.get("adam")
    with pytest.raises(ValueError, match="is called adam, as an optimizer on the shelf is: rename it"):
        optimizers.load(written(tmp_path, FILE, "adam.py"))
    assert optimizers.get("adam") is adam


def test_an_adapted_optimizer_is_the_library_s_own():
    columns = {"lr": [1e-2, 3e-2, 0.1], "weight_decay": [0.0, 0.1, 0.01], "beta2_decay": [-0.8, -0.9, -0.5]}
    references = [
        torch_run(lambda model, values=values: torch.optim.Adafactor(model, **values), run, 50)
        for run, values in enumerate(per_run(columns))
    ]
    agree(optimizers.create("torch:Adafactor"), references, columns, 50)


def test_an_adapted_optimizer_agrees_with_the_shelf_s():
    for theirs, ours in {
        "torch:AdamW": optimizers.create("adamw"),
        "pytorch_optimizer:Lion": optimizers.create("lion", weight_decay=0.0),
        "schedulefree:AdamWScheduleFree": optimizers.create("schedule_free_adamw"),
    }.items():
        shared = {
            name: value for name, value in ours.values.items() if name in {"lr", "weight_decay", "beta1", "beta2"}
        }
        if "schedulefree" in theirs:
            shared |= {"beta1": ours.beta, "beta2": ours.beta2}
        adapted = optimizers.create(theirs, **shared)
        for (a, _), (b, _) in zip(drive(adapted, start(2), 50), drive(ours, start(2), 50), strict=True):
            torch.testing.assert_close(a.flat, b.flat, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("path", ["torch:Adafactor", "pytorch_optimizer:SOAP", "schedulefree:SGDScheduleFree"])
def test_an_adapted_optimizer_keeps_the_contract(path):
    optimizer = optimizers.create(path)
    assert contract.check(optimizer).broken == ()
    assert not optimizer.capturable
    assert path not in optimizers.names()


def test_an_adapted_optimizer_follows_a_schedule_and_a_change_of_its_rate():
    adapted = bind(optimizers.create("torch:SGD", modify="linear:epochs=2,final=0", lr=0.1), 1)
    *_, (before, _), (after, _) = ((params.flat.clone(), 0) for params, _ in drive(adapted, start(1), 8))
    assert torch.equal(before, after)
    rate = torch.tensor([0.1], dtype=torch.float64)
    bound = optimizers.create("torch:SGD").bind({"lr": rate})
    moved = []
    for params, _ in drive(bound, start(1), 2):
        moved.append(params[TRAINED[0]].clone())
        rate.fill_(0.0)
    assert torch.equal(moved[0], moved[1])


def test_an_adapted_optimizer_trains_in_the_fleet():
    adapted, native = (
        ex.train(
            ex.Challenge.preset("tig", width=16),
            optimizers.create(name, lr=[1e-3, 1e-2]),
            max_epochs=3,
            device="cpu",
            precision="float64",
        ).outcomes.train_loss.to_list()
        for name in ("torch:Adam", "adam")
    )
    assert adapted == pytest.approx(native, rel=1e-6)
    assert not math.isnan(adapted[0])


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("torch:Adem", "optimizer = 'torch:Adem' is not known: torch.optim has no torch.optim.Optimizer 'Adem'"),
        ("no_such_package:Adam", "No module named 'no_such_package'.*pip install"),
        ("torch:LBFGS", "cannot run here: its step needs several gradients of one batch"),
        ("torch:lr_scheduler", "has no torch.optim.Optimizer 'lr_scheduler'"),
    ],
)
def test_what_cannot_be_adapted_is_refused_with_a_sentence(path, sentence):
    with pytest.raises(ValueError, match=sentence):
        optimizers.create(path)


def test_an_adapted_optimizer_refuses_what_it_does_not_take():
    with pytest.raises(ValueError, match="lrr is not a setting of Adam; its settings are: lr, beta1, beta2, eps"):
        optimizers.create("torch:Adam", lrr=1)

"""Each first-order optimizer against an independent implementation: 60 steps, float64, parameters and state."""

from __future__ import annotations

from functools import partial

import optimizer_literals as literal
import pytest
import pytorch_optimizer
import torch
from optimizer_harness import agree, bind, drive, literal_run, per_run, start, torch_run

from explorer import optimizers

STEPS = 60


def betas(maker, count=2):
    """A torch optimizer's maker from our hyperparameters beta1, beta2, …"""

    def make(model, **values):
        return maker(model, betas=tuple(values.pop(f"beta{i + 1}") for i in range(count)), **values)

    return make


ADAM = {"lr": [1e-3, 3e-2, 1e-2], "beta1": [0.9, 0.8, 0.5], "beta2": [0.999, 0.99, 0.9], "eps": [1e-8, 1e-3, 1e-6]}
DECAY = {"weight_decay": [0.0, 0.1, 0.3]}
MOMENTUM = {"lr": [1e-2, 3e-2, 0.1], "momentum": [0.9, 0.5, 0.0]} | DECAY
MEMORY = {"m": "exp_avg", "v": "exp_avg_sq"}
LIBRARY = {
    "sgd": (torch.optim.SGD, {}, MOMENTUM, {"momentum": "momentum_buffer"}),
    "sgd+nesterov": (partial(torch.optim.SGD, nesterov=True), {"nesterov": True},
                     MOMENTUM | {"momentum": [0.9, 0.5, 0.1]}, {"momentum": "momentum_buffer"}),
    "heavy_ball": (torch.optim.SGD, {}, MOMENTUM, {}),
    "nesterov": (partial(torch.optim.SGD, nesterov=True), {}, MOMENTUM | {"momentum": [0.9, 0.5, 0.1]}, {}),
    "adagrad": (torch.optim.Adagrad, {}, {"lr": [1e-2, 0.1, 0.3], "eps": [1e-10, 1e-3, 0.1]}, {"squares": "sum"}),
    "rmsprop": (lambda model, beta, **rest: torch.optim.RMSprop(model, alpha=beta, **rest), {},
                {"lr": [1e-3, 1e-2, 3e-2], "beta": [0.99, 0.9, 0.5],
                "momentum": [0.3, 0.5, 0.9], "eps": [1e-8, 1e-3, 0.1]} | DECAY,
                {"v": "square_avg", "momentum": "momentum_buffer"}),
    "adam": (betas(torch.optim.Adam), {}, ADAM, MEMORY),
    "adamw": (betas(torch.optim.AdamW), {}, ADAM | DECAY, MEMORY),
    "radam": (betas(torch.optim.RAdam), {}, ADAM, MEMORY),
    "lion": (betas(pytorch_optimizer.Lion), {}, {"lr": [1e-3, 1e-2, 3e-2], "beta1": [0.9, 0.95, 0.5],
             "beta2": [0.99, 0.98, 0.9]} | DECAY, {"m": "exp_avg"}),
    "adan": (partial(betas(pytorch_optimizer.Adan, 3), weight_decouple=False), {},
             {"lr": [1e-3, 1e-2, 3e-2], "beta1": [0.98, 0.9, 0.5], "beta2": [0.92, 0.9, 0.6],
              "beta3": [0.99, 0.9, 0.8], "eps": [1e-8, 1e-3, 0.1]} | DECAY,
             {"m": "exp_avg", "v": "exp_avg_diff", "n": "exp_avg_sq"}),
    "lars": (lambda model, trust, **rest: pytorch_optimizer.LARS(model, trust_coefficient=trust, **rest), {},
             {"lr": [1e-2, 3e-2, 0.1], "momentum": [0.9, 0.5, 0.3], "trust": [1.0, 0.1, 1e-2]} | DECAY,
             {"momentum": "momentum_buffer"}),
}  # fmt: skip

LITERAL = {
    "nadamw": (literal.nadamw, ADAM | DECAY),
    "lamb": (literal.lamb, ADAM | DECAY),
    "adagrad_norm": (literal.adagrad_norm, {"lr": [0.1, 1.0, 3.0], "b0": [1e-2, 1.0, 10.0]}),
    "classp": (literal.classp, {"lr": [1e-2, 0.1, 0.03], "power": [2.0, 1.0, 3.5],
               "gradient_threshold": [1e-6, 0.01, 0.2],
               "eps": [1e-10, 1e-3, 0.1]}),
    "adadagrad": (literal.adadagrad, {"lr": [1e-2, 0.1, 0.3], "eps": [1e-10, 1e-3, 0.1], "theta": [1.0, 0.2, 0.05],
                  "max_batches": [8.0, 8.0, 5.0]}),
    "adadagrad_norm": (literal.adadagrad_norm, {"lr": [0.1, 1.0, 3.0], "b0": [1e-2, 1.0, 10.0],
                       "theta": [1.0, 0.2, 0.05], "max_batches": [8.0, 8.0, 5.0]}),
}  # fmt: skip


@pytest.mark.parametrize("entry", LIBRARY)
def test_agrees_with_the_library(entry):
    make, switches, columns, names = LIBRARY[entry]
    references = [
        torch_run(partial(make, **values), run, STEPS, **names) for run, values in enumerate(per_run(columns))
    ]
    agree(optimizers.create(entry.split("+")[0], **switches), references, columns, STEPS)


@pytest.mark.parametrize("entry", LITERAL)
def test_agrees_with_a_literal_transcription(entry):
    transcription, columns = LITERAL[entry]
    references = [literal_run(transcription, run, STEPS, **values) for run, values in enumerate(per_run(columns))]
    agree(optimizers.create(entry), references, columns, STEPS)


def test_classp_with_power_two_and_no_threshold_is_adagrad():
    columns = {"lr": [0.1], "eps": [0.0]}
    classp = bind(optimizers.create("classp"), 1, **columns, power=[2.0], gradient_threshold=[0.0])
    adagrad = bind(optimizers.create("adagrad"), 1, **columns)
    for (ours, _), (theirs, _) in zip(drive(classp, start(1), 20), drive(adagrad, start(1), 20), strict=True):
        torch.testing.assert_close(ours.buffer, theirs.buffer, rtol=1e-12, atol=0)


def test_adadagrad_that_accumulates_nothing_is_adagrad():
    plain = [drive(bind(optimizers.create(key, lr=0.1), 2), start(2), 20) for key in ("adagrad", "adagrad_norm")]
    grown = [
        drive(bind(optimizers.create(key, lr=0.1), 2, max_batches=[1.0, 1.0]), start(2), 20)
        for key in ("adadagrad", "adadagrad_norm")
    ]
    for ours, theirs in zip(grown, plain, strict=True):
        for (a, _), (b, _) in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a.buffer, b.buffer, rtol=1e-12, atol=0)


def test_adadagrad_takes_more_batches_when_the_test_is_stricter():
    bound = bind(optimizers.create("adadagrad"), 3, theta=[20.0, 0.2, 0.1], max_batches=[32.0] * 3)
    batches = torch.stack([state["batches"].clone() for _, state in drive(bound, start(3), STEPS)])
    steps = (batches == 0).sum(0)
    assert steps[0] == STEPS // 2
    assert steps[0] > steps[1] > steps[2] > 0

"""Every optimizer on the shelf and every modifier keep one contract; so does a file that somebody drops in."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import param
import pytest
import torch
from optimizer_harness import bind, drive, start

import explorer as ex
from explorer import optimizers
from explorer.base.tensors import Tensors
from explorer.optimizers import contract, modifiers
from explorer.training.graph import tensors_of

EVERYTHING = [*optimizers.names(), *(f"adam+{name}" for name in modifiers.names()), "muon+clip+cosine+ema"]


@pytest.fixture(params=EVERYTHING)
def key(request):
    return request.param


def test_keeps_the_contract(key):
    report = contract.check(optimizers.create(key))
    assert report.broken == ()
    assert report.seconds > 0


def test_state_is_named_and_documented(key):
    optimizer = optimizers.create(key)
    state = optimizer.init_state(start(2), torch.arange(2))
    documented = " ".join(klass.__doc__ or "" for klass in type(optimizer).__mro__ if klass is not object)
    for name in state:
        assert f"`{name}`" in documented, f"{name} is not in the documentation of {key}"


def test_hyperparameters_are_documented_and_bounded(key):
    for name, parameter in optimizers.get(key).fields().items():
        assert parameter.doc, name
        if isinstance(parameter, param.Number):
            assert parameter.bounds is not None, name
            assert optimizers.get(key).allowed(name), name


def test_says_what_it_is(key):
    klass = optimizers.get(key)
    doc = inspect.getdoc(klass) or ""
    headline = doc.splitlines()[0]
    assert headline.endswith((".", ":"))
    assert len(headline) <= 120
    assert "Reference:" in " ".join(klass.__doc__ or "" for klass in klass.__mro__)


def test_hyperparameters_differ_by_run(key):
    """Runs with values of their own move as runs bound to one value each."""
    optimizer = optimizers.create(key)
    numbers = [name for name in optimizer.fields() if optimizer.sweepable(name)]
    columns = {name: [_other(optimizer, name, share) for share in (0.0, 0.5, 1.0)] for name in numbers}
    together = [params.flat.clone() for params, _ in drive(bind(optimizer, 3, **columns), start(3), 12)]
    for run in range(3):
        alone = bind(optimizer, 1, **{name: [column[run]] for name, column in columns.items()})
        params = Tensors(start(3).layout, start(3).buffer[run : run + 1].clone())
        for found, (expected, _) in zip(together, drive(alone, params, 12, seeds=[run], runs=[run]), strict=True):
            torch.testing.assert_close(found[run], expected.flat[0], rtol=1e-9, atol=1e-11)
    assert (together[-1][0] - together[-1][2]).abs().max() > 0


def _other(optimizer, name, share):
    """The default, and on towards a bound that is near."""
    default = getattr(optimizer, name)
    _, high = optimizer.fields()[name].bounds
    return default + share * (0.5 * (high - default) if high is not None and high <= 1 else 0.5 * default + 0.1)


def test_everything_trains_in_the_fleet(key):
    """Two epochs of the challenge itself: finite, and the state's tensors keep their places in memory."""
    fleet = ex.training.Fleet(ex.Challenge.preset("tig", width=16), optimizers.create(key), range(2), device="cpu")
    before = [tensor.data_ptr() for tensor in tensors_of(fleet.state)]
    fleet.advance()
    fleet.advance()
    assert [tensor.data_ptr() for tensor in tensors_of(fleet.state)] == before
    snapshot = fleet.snapshot()
    assert set(map(str, snapshot.status)) == {"running"}


@pytest.mark.gpu
def test_captured_equals_uncaptured(key):
    optimizer = optimizers.create(key)
    challenge = ex.Challenge.preset("tig", width=32, num_hidden_layers=5)
    losses = []
    for capturable in {optimizer.capturable, False}:
        fleet = ex.training.Fleet(challenge, optimizer, range(3), device="cuda", precision="float64")
        fleet.captured = capturable
        for _ in range(14):  # Shampoo and SOAP are captured from the third on
            fleet.advance()
        losses.append(torch.tensor(fleet.snapshot().val_loss))
    torch.testing.assert_close(losses[0], losses[-1], rtol=1e-6, atol=0)


TWENTY_LINES = '''
"""Sign descent, for a test."""

from explorer.optimizers.base import Elementwise
from explorer.optimizers.fields import rate


class SignDescent(Elementwise):
    """Sign descent: every weight moves by the same amount against its gradient.

    Reference: none, it is made up.
    """

    key = "sign_descent"

    lr = rate(1e-3, "Learning rate: the step of every weight.")

    def rule(self, p, g, t):
        (lr,) = self.symbols("lr", like=g)
        return g.sign() * -lr
'''

LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
import explorer
assert explorer.__file__.startswith(sys.argv[1]), explorer.__file__
from explorer import optimizers
from explorer.optimizers import contract
print("sign_descent" in optimizers.names(), contract.check(optimizers.create("sign_descent")).broken)
import test_optimizers_contract
print("sign_descent" in test_optimizers_contract.EVERYTHING)
"""


def test_a_file_of_twenty_lines_is_an_optimizer(tmp_path):
    """Dropped into a copy of the package, it is on the shelf and among what these tests test, with no other edit."""
    package = Path(ex.__file__).parent
    shutil.copytree(package, tmp_path / "explorer", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "explorer" / "optimizers" / "sign_descent.py").write_text(TWENTY_LINES)
    assert len(TWENTY_LINES.strip().splitlines()) <= 20
    found = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split("\n")[:2] == ["True ()", "True"], found.stderr


class Broken(optimizers.Optimizer):
    """A base for optimizers that break one rule each."""

    def init_state(self, params, seed):
        return {"steps": torch.zeros(len(seed))}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        return [g * -0.1 for g in gradients]


def breaks(*bases, **members):
    return contract.check(type("Breaks", (*bases, Broken), members)()).broken


def test_each_broken_rule_is_a_sentence():
    def writes(self, state, params, gradients, *told):
        gradients[2].mul_(2)
        return [g * -0.1 for g in gradients]

    def writes_params(self, state, params, *told):
        params[0].add_(1)

    def mixes(self, state, params, gradients, *told):
        return [g * -0.1 / g.norm().clamp(min=1e-9) for g in gradients]

    def by_place(self, state, params, gradients, *told):
        place = torch.arange(len(params[0]), dtype=torch.float64)
        return [g * -0.1 * (1 + place.view(-1, *[1] * (g.dim() - 1))) for g in gradients]

    def forgets(self, state, params, gradients, *told):
        return gradients[:-1]

    def squeezes(self, state, params, gradients, *told):
        return [g.flatten(1) for g in gradients]

    def divides(self, state, params, gradients, *told):
        return [g / 0 for g in gradients]

    def raises(self, state, params, gradients, *told):
        raise RuntimeError("no idea")

    def draws(self, state, params, gradients, *told):
        return [g * torch.rand(()) for g in gradients]

    def moves_frozen(self, state, params, *told):
        return [p + 1 for p in params]

    def unshaped(self, params, seed):
        return {"m": [torch.zeros(7)]}

    assert breaks() == ()
    for member, sentence in [
        ({"step": writes}, "step wrote into the gradients it was given: linears.1.weight."),
        ({"query_at_params": writes_params}, "query_at_params wrote into the params it was given: linears.0.weight."),
        ({"step": mixes}, "step: linears.0.weight in step 1: a run alone moves otherwise than among four: "
                          "runs must not mix."),
        ({"step": by_place}, "step: linears.0.weight in step 1: runs in another order move otherwise: "
                             "runs must not mix."),
        ({"step": forgets}, "step returned 25 tensors; there are 26."),
        ({"step": squeezes}, "step: linears.0.weight came back as [4, 12], not [4, 6, 2]."),
        ({"step": divides}, "step: linears.0.weight came back with NaN or infinity."),
        ({"step": raises}, "step raised RuntimeError: no idea"),
        ({"step": draws}, "step: linears.0.weight in step 1: given the same twice, it answers differently."),
        ({"query_at_params": moves_frozen}, "query_at_params: linears.3.weight is frozen, "
                                            "and must be proposed as it is."),
        ({"init_state": unshaped}, "init_state: m[0] has shape [7]; its first axis must be the 4 runs'."),
    ]:  # fmt: skip
        assert sentence in breaks(**member)

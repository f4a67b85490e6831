"""Optimizers in a process of their own: the same numbers, and an end to whatever they do."""

import os
import time

import numpy as np
import psutil
import pytest
from test_optimizers_plugins import FILE, STEP, written
from test_worker import Listener

import explorer as ex
from explorer.optimizers import contract
from explorer.optimizers.plugins import TEMPLATE
from explorer.records import Fault, Phase
from explorer.training import Fleet, separate
from explorer.training.plan import Entry, Plan
from explorer.training.separate import optimizer as ends
from explorer.training.separate.process import shown

SMALL = ex.Challenge.preset("tig", num_hidden_layers=3, width=8, train_size=64, batch_size=16, max_epochs=4)
SHORT = separate.Limits(seconds=1.0, loading=20.0, checking=3.0, memory=300 << 20)

CLASS = '''
import param
from explorer.optimizers import Optimizer
from explorer.optimizers.fields import rate
import torch

class Mine(Optimizer):
    """Goes downhill, with a little chance.

    $$ \\\\theta $$
    """

    key = "mine_in_class"
    lr = rate(1e-2, "Learning rate.")
    way = param.Selector(default="down", objects=["down", "up"], doc="Where to go.")

    def init_state(self, params, seed):
        torch.manual_seed(int(seed[0]))
        return {"steps": torch.zeros(())}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        for name, tensor in zip(params.names, params, strict=True):
            if "running" not in name:
                tensor.mul_(1.01)
        return params

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        state["steps"] += 1
        sign = -1 if self.way == "down" else 1
        (lr,) = self.symbols("lr", like=params[0][:, 0, 0])
        return [sign * lr.view(-1, *[1] * (g.dim() - 1)) * (g + 0.01 * torch.rand(())) for g in gradients]
'''


def curves(optimizer, **options):
    result = ex.train(SMALL, optimizer, seeds=range(3), device="cpu", precision="float64", **options)
    assert set(result.outcomes.message) == {""}
    return result.history.val_loss.values


def test_it_trains_exactly_as_it_would_here(tmp_path):
    file = written(tmp_path, TEMPLATE.read_text(encoding="utf-8"), "apart.py")
    apart = separate.load(file)
    here = ex.optimizers.load(written(tmp_path, TEMPLATE.read_text(encoding="utf-8"), "here.py"))
    np.testing.assert_array_equal(curves(apart), curves(here))
    assert contract.check(apart).kept


def test_a_class_brings_its_settings_and_is_swept_scheduled_and_looked_into(tmp_path):
    file = written(tmp_path, CLASS, "in_class.py")
    mine = separate.load(file, lr=[1e-3, 1e-2], modify="cosine:epochs=4")
    assert mine.key == "mine_in_class+cosine"
    assert type(mine).allowed("way") == "one of down, up"
    assert "Goes downhill" in type(mine).__doc__
    ends = []
    for looks in (True, False):
        fleet = Fleet(SMALL, mine, [0], "cpu")
        before = fleet.params.buffer.clone()
        while fleet.epoch < 3:
            fleet.advance()
            if looks:
                looked = fleet.rehearse()
                assert looked.proposal is not None
                assert looked.updates is not None
        ends.append(fleet.params.buffer)
    # Looking changes neither the state nor the chance of what is looked at.
    assert (ends[0] == ends[1]).all()
    moved = (ends[0] - before).abs().sum(1)
    assert moved[1] > 3 * moved[0]


FAULTS = [
    ("    while True:\n        pass", r"did not answer within 1 s, and was ended\."),
    ("    import sys\n    sys.exit(3)", "called sys.exit"),
    ("    import os\n    os._exit(3)", r"ended by itself, with exit code 3\."),
    ("    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)", r"ended by itself, by signal 11\."),
    ("    kept = []\n    while True:\n        kept.append(bytearray(1 << 20))", "GiB of memory, and was ended"),
    ("    raise KeyError('momentum')", "KeyError: 'momentum'"),
    ("    return [g / 0 for g in gradients]", "returned NaN or infinity"),
    ("    return gradients[:-2]", "optimizer_step returned 18 tensors; there are 20"),
    ("    raise ValueError('<script>' + 'x' * 9000 + chr(27))", r"wayward.py: <script>x+…$"),
    ("    import os\n    os.write(1, b'????' * 99)\n    return gradients", None),
]


def test_whatever_a_file_does_ends_its_runs_alone_with_a_sentence(tmp_path):
    """One file that does what another one says; its process is started anew where it had to be ended."""
    order = tmp_path / "order.py"
    obeys = f"    here = {{}}\n    exec(open({str(order)!r}).read(), here)\n    return here['fault'](gradients)"
    mine = separate.load(written(tmp_path, FILE.replace(STEP, obeys), "wayward.py"), limits=SHORT, quiet=True)
    for change, sentence in FAULTS:
        order.write_text(f"def fault(gradients):\n{change}\n", encoding="utf-8")
        began = time.monotonic()
        outcomes = ex.train(SMALL, mine, seeds=range(2), device="cpu").outcomes
        assert time.monotonic() - began < SHORT.seconds + 10, change  # a start of Python and torch included
        if sentence is None:  # what it prints is not what it says
            assert list(outcomes.status) == ["max_epochs"] * 2
        else:
            assert list(outcomes.status) == ["failed"] * 2, change
            assert outcomes.message.str.contains(sentence).all(), outcomes.message[0]


def test_a_lane_that_hangs_ends_alone_its_processes_too_and_starts_anew(tmp_path):
    child = "    import subprocess\n    subprocess.Popen(['sleep', '77'])\n    while True: pass"
    mine = separate.load(written(tmp_path, FILE.replace(STEP, child), "hangs.py"), limits=SHORT)
    process = mine.process._child.pid
    listener = Listener()
    entries = (Entry("mine", SMALL, mine), Entry("good", SMALL, ex.optimizers.create("adam")))
    listener.worker.start(Plan(entries, (0,), device="cpu"))
    listener.until(lambda: listener.phase is Phase.FINISHED)
    (fault,) = listener.of(Fault)
    assert (fault.lane, fault.message) == (0, "mine: hangs.py did not answer within 1 s, and was ended.")
    assert [s.status for s in listener.snapshots() if s.lane == 1][-1] == ("max_epochs",)
    assert not psutil.pid_exists(process)
    assert not any("77" in each.info["cmdline"] for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"])
    listener.records.clear()
    again = listener.worker.start(Plan.of(SMALL, mine, (0,), device="cpu"))
    listener.until(lambda: listener.of(Fault, again))
    assert "did not answer within 1 s" in listener.of(Fault, again)[0].message
    assert listener.worker.close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("while True: pass", r"endless.py did not answer within 2 s, and was ended\."),
        ("def", r"^endless.py could not be loaded: SyntaxError"),
        (CLASS.replace("mine_in_class", "adam"), "is called adam, as an optimizer on the shelf is: rename it"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_and_leaves_nothing_behind(tmp_path, text, sentence):
    limits = separate.Limits(loading=2.0)
    with pytest.raises(ValueError, match=sentence):
        separate.load(written(tmp_path, text, "endless.py"), limits=limits, quiet=True)
    assert not [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE and _ours(each)]


def _ours(process):
    return process.is_running() and "endless" in " ".join(process.cmdline())


def test_the_process_is_told_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPLORER_STORE", "postgresql://me:secret@here")
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    change = "    import os\n    raise ValueError(' '.join(sorted(os.environ)))"
    mine = separate.load(written(tmp_path, FILE.replace(STEP, change), "nosy.py"), quiet=True)
    (message,) = ex.train(SMALL, mine, device="cpu").outcomes.message
    assert "PATH" in message
    assert "GOMP_SPINCOUNT" in message  # or its threads wait in another way than the server's
    assert "EXPLORER" not in message


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ({"key": "../../etc", "doc": "", "fields": []}, "its name must be letters"),
        ({"key": "a", "doc": 3, "fields": []}, "describes itself in a way that is not understood"),
        ({"key": "a", "doc": "", "fields": [{}] * 65}, "describes itself"),
        ({"key": "a", "doc": "", "fields": [{"name": "x"}]}, "declares x in a way that is not understood"),
        (
            {"key": "a", "doc": "", "fields": [{"name": "x", "kind": "number", "default": "1", "doc": ""}]},
            "declares x in a way that is not understood",
        ),
        ({"key": "a", "doc": "", "fields": [{"name": "__init__", "kind": "text"}]}, "not a name it can have"),
        ({"key": "a", "doc": "", "fields": [{"name": "process", "kind": "text"}]}, "not a name it can have"),
    ],
)
def test_what_a_process_says_of_itself_is_checked(reply, sentence):
    with pytest.raises(ValueError, match=sentence):
        ends._class(reply)


def test_what_a_person_is_shown_is_one_short_printable_line():
    assert shown("a\n  b\x1b[31m\u202ec") == "a b[31mc"
    assert len(shown("x" * 10_000)) == 500
    assert shown({"not": "text"}) == "{'not': 'text'}"


def test_check_ends_what_never_returns_and_names_a_proposal_made_in_place(tmp_path):
    name, report = separate.check(written(tmp_path, FILE, "kept.py"))
    assert (name, report.kept) == ("kept", True)
    assert report.seconds > 0
    hangs = written(tmp_path, FILE.replace(STEP, "    while True: pass"), "hangs.py")
    assert separate.check(hangs, SHORT)[1].broken == ("hangs.py did not answer within 3 s, and was ended.",)
    broken = separate.check(written(tmp_path, CLASS, "in_place.py"))[1].broken
    assert "query_at_params wrote into the params it was given: linears.0.weight." in broken


def test_no_file_stays_in_memory(tmp_path):
    folder = "/dev/shm"
    mine = separate.load(written(tmp_path, FILE, "tidy.py"))
    ex.train(SMALL, mine, device="cpu")
    if os.path.isdir(folder):
        assert not [name for name in os.listdir(folder) if name.startswith("explorer-")]

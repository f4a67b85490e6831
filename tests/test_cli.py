"""The command line, mostly as a subprocess: what it prints, where, and its exit codes."""

import asyncio
import contextlib
import csv
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from aside import aside
from bokeh.document import Document
from bokeh.document.events import MessageSentEvent
from bokeh.events import DocumentReady
from bokeh.protocol import Protocol
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect
from typer.testing import CliRunner

import explorer as ex
from explorer.cli import app
from explorer.cli.train import configure, parse_seeds

SMALL = ["--set", "width=16", "--set", "train_size=128", "--device", "cpu"]


def explorer(*arguments, **settings):
    """Run `python -m explorer` with its output piped."""
    command = [sys.executable, "-m", "explorer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **settings)


def invoke(*arguments):
    """The same in this process, which is faster."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_script_and_the_module_are_one_command_line():
    script = Path(sys.executable).with_name("explorer")
    for command in ([script], [sys.executable, "-m", "explorer"]):
        done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        for name in ("serve", "train", "optimizers", "new", "check", "tune", "bench"):
            assert re.search(rf"^\W+{name}\b", done.stdout, re.MULTILINE), name


def test_piped_training_prints_plain_lines():
    done = explorer("train", *SMALL, "--max-epochs", "4", "--seeds", "0-1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"epoch +1  train [\d.]+  val [\d.]+  test [\d.]+  [\d.]+ epochs/s  2/2", lines[0])
    assert re.fullmatch(r"epoch +4  train [\d.]+  val [\d.]+  test [\d.]+  [\d.]+ epochs/s  0/2", lines[-5])
    assert lines[-4].split()[:4] == ["seed", "status", "epochs", "best_epoch"]
    assert [line.split()[:3] for line in lines[-3:-1]] == [["0", "max_epochs", "4"], ["1", "max_epochs", "4"]]
    assert lines[-1] == "0 of 2 runs passed."
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def on_a_terminal(*arguments):
    """What `explorer` writes when its output is a terminal 120 columns wide."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    command = [sys.executable, "-m", "explorer", *arguments]
    running = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end has closed
        while chunk := os.read(ours, 65536):
            written += chunk
    os.close(ours)
    assert running.wait(60) == 0, written
    return written.decode()


def test_training_on_a_terminal_shows_a_bar_with_losses():
    written = on_a_terminal("train", *SMALL, "--max-epochs", "40")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    assert "\x1b[2K" in written, "one line should be drawn over and over"
    assert re.search(r"40/40 +━+ +train [\d.]+  val [\d.]+  test [\d.]+  [\d.]+ epochs/s", plain)
    assert "runs passed." in plain


def test_json_on_standard_output_is_the_library_s_result_and_nothing_else():
    arguments = ["--max-epochs", "3", "--seeds", "3,5", "--set", "lr=1e-4,1e-3", "--json", "-"]
    done = explorer("train", *SMALL, *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    challenge = ex.Challenge.preset("tig", width=16, train_size=128)
    optimizer = ex.optimizers.create("adam", lr=[1e-4, 1e-3])
    result = ex.train(challenge, optimizer, seeds=[3, 5], device="cpu", max_epochs=3)
    assert told["challenge"] == challenge.replace(max_epochs=3).values
    assert told["optimizer"] == {"name": "adam"} | optimizer.values
    assert told["device"] == "cpu"
    assert told["history"]["epoch"] == [1, 2, 3]
    for loss in ("train_loss", "val_loss", "test_loss"):
        np.testing.assert_array_equal(told["history"][loss], result.history[loss].values)
    assert [row["seed"] for row in told["outcomes"]] == [3, 5, 3, 5]
    assert [row["test_loss"] for row in told["outcomes"]] == result.outcomes.test_loss.tolist()
    assert "epoch " in done.stderr, "people still see how it goes"


def test_csv_has_one_row_a_run(tmp_path):
    file = tmp_path / "outcomes.csv"
    done = invoke("train", *SMALL, "--max-epochs", 2, "--seeds", "0-2", "--csv", file)
    assert done.exit_code == 0
    rows = list(csv.DictReader(file.open()))
    assert [row["seed"] for row in rows] == ["0", "1", "2"]
    assert {row["status"] for row in rows} == {"max_epochs"}
    assert "runs passed." in done.stdout
    piped = invoke("train", *SMALL, "--max-epochs", 2, "--seeds", "0-2", "--csv", "-")
    assert [row["test_loss"] for row in csv.DictReader(io.StringIO(piped.stdout))] == [row["test_loss"] for row in rows]


def test_json_says_null_where_there_is_no_number(tmp_path):
    file = tmp_path / "result.json"
    done = invoke(
        "train",
        *SMALL,
        "--max-epochs",
        3,
        "--optimizer",
        "sgd",
        "--set",
        "lr=1e-6,1e6",
        "--preset",
        "brief",
        "--json",
        file,
    )
    assert done.exit_code == 0
    fine, diverged = (told := json.loads(file.read_text()))["outcomes"]
    assert (fine["status"], diverged["status"]) == ("max_epochs", "diverged")
    assert diverged["test_loss"] is None
    assert fine["readout_floor"] is None
    assert told["history"]["val_loss"][1][1:] == [None, None]


BAD = [
    (["--set", "num_hidden_layers=0"], "num_hidden_layers = 0 is not allowed: it must be an integer from 1 to 20."),
    (
        ["--set", "num_hidden_layers=abc"],
        "num_hidden_layers = 'abc' is not allowed: it must be an integer from 1 to 20.",
    ),
    (
        ["--set", "num_hidden_layers=4,7"],
        "num_hidden_layers = '4,7' is not allowed: it must be an integer from 1 to 20.",
    ),
    (
        ["--set", "accuracy_factor=4000"],
        "accuracy_factor = 4000.0 is not allowed: it must be a number from 0 to below 4000.",
    ),
    (["--set", "lr=nan"], "lr = nan is not allowed: it must be a number from 0 to 1e+09."),
    (["--set", "lr=1e-3,-1"], "lr = -1.0 is not allowed: it must be a number from 0 to 1e+09."),
    (["--set", "lr"], "set = 'lr' is not allowed: it must be FIELD=VALUE."),
    (["--set", "rate=1"], "rate is neither a setting of the challenge nor of adam; theirs are: num_hidden_layers, "),
    (["--optimizer", "adm"], "optimizer = 'adm' is not known: it must be one of "),
    (["--preset", "tgi"], "preset = 'tgi' is not known: it must be one of brief, tig."),
    (["--seeds", "a"], "seeds = 'a' is not allowed: it must be like 7, 0-7 or 0,1,5."),
    (["--seeds", "5-3"], "seeds = '5-3' is not allowed: it must name from 1 to 4096 seeds."),
    (["--seeds", "0-99999999999"], "seeds = '0-99999999999' is not allowed: it must name from 1 to 4096 seeds."),
    (
        ["--seeds", str(2**63)],
        f"seeds holds {2**63}, which is not allowed: each must be an integer from 0 to 2^62 - 1.",
    ),
    (["--device", "cuda:99"], "device = 'cuda:99' is not "),
    (["--precision", "half"], "precision = 'half' is not known: it must be one of "),
    (["--max-epochs", "0"], "max_epochs = 0 is not allowed: it must be an integer from 1 to 10000."),
    (["--json", "/no/such/folder/x"], "json = /no/such/folder/x cannot be written: No such file or directory."),
    (["--json", "-", "--csv", "-"], "json = - is not allowed with csv = -: only one of them can be the output."),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_gets_one_sentence_and_exit_code_2(arguments, sentence):
    done = invoke("train", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"explorer: {sentence}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_bad_input_shows_no_traceback_in_a_real_process():
    done = explorer("train", "--set", "lr=-1")
    assert done.returncode == 2
    assert done.stderr == "explorer: lr = -1.0 is not allowed: it must be a number from 0 to 1e+09.\n"


def test_a_failing_optimizer_is_told_and_gives_exit_code_1(monkeypatch):
    def step(self, *arguments):
        raise ArithmeticError("the optimizer's own trouble")

    monkeypatch.setattr(ex.optimizers.get("adam"), "step", step)
    done = invoke("train", *SMALL)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "Training failed: ArithmeticError: the optimizer's own trouble"


def test_settings_reach_challenge_and_optimizer():
    settings = ["noise_std=0.1", "restore_statistics=false", "lr = 1e-4, 1e-3", "beta1=0.5", "lengthscale_power=1"]
    challenge, optimizer = configure("tig", "adam", settings)
    assert (
        challenge.values
        == ex.Challenge.preset("tig", noise_std=0.1, restore_statistics=False, lengthscale_power=1).values
    )
    assert optimizer.values == ex.optimizers.create("adam", lr=[1e-4, 1e-3], beta1=0.5).values


def test_a_plug_in_trains_with_or_without_modifiers(tmp_path):
    """In processes of their own, since a plug-in stays on the shelf of its process."""
    assert invoke("new", tmp_path / "mine.py").exit_code == 0
    arguments = ["train", *SMALL, "--max-epochs", "1", "--plugin", tmp_path / "mine.py", "--json", "-"]
    for name, options in (("mine", []), ("mine+clip", ["--optimizer", "mine+clip"])):
        done = explorer(*arguments, *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["optimizer"]["name"] == name
    missing = invoke("train", "--plugin", tmp_path / "other.py")
    assert missing.exit_code == 2
    assert "other.py" in missing.stderr


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("0-3", [0, 1, 2, 3]), ("0,1,5", [0, 1, 5]), ("2, 4-6", [2, 4, 5, 6]), ("3-3", [3])]
)
def test_seeds_are_read(text, seeds):
    assert parse_seeds(text) == seeds


def test_optimizers_are_listed_with_a_line_each():
    lines = invoke("optimizers").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ex.optimizers.names()
    assert all(len(line.split()) > 3 for line in lines)


def test_one_optimizer_is_told_with_its_hyperparameters():
    told = invoke("optimizers", "adam").stdout
    assert re.search(r"^  beta2 = 0\.999: Decay .*\(a number from 0 to below 1\)$", told, re.MULTILINE)
    done = invoke("optimizers", "adm")
    assert done.exit_code == 2
    assert done.stderr.startswith("explorer: optimizer = 'adm' is not known")


# serve ---------------------------------------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("localhost", 0)) as taken:
        return taken.getsockname()[1]


@contextlib.contextmanager
def served(*arguments):
    """A running `explorer serve`: its process and port."""
    port = free_port()
    command = [sys.executable, "-m", "explorer", "serve", "--port", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            for line in running.stdout:
                if "Launching server at" in line:
                    break
            assert f"http://localhost:{port}" in line
            if sys.platform == "linux":
                assert b"PYTHONMALLOC=malloc" in Path(f"/proc/{running.pid}/environ").read_bytes()
            yield running, port
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
                raise


READY = Protocol().create("PATCH-DOC", [MessageSentEvent(Document(), "bokeh_event", DocumentReady())])


@contextlib.asynccontextmanager
async def tab(port):
    """What a browser's tab is to the server: the page, and a websocket with the page's token."""
    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/", request_timeout=60)
    page = answer.body.decode()
    assert "<title>Optimizer Explorer</title>" in page
    token = re.search(r'"token":"([^"]+)"', page)[1]
    request = HTTPRequest(f"ws://127.0.0.1:{port}/ws", headers={"Origin": f"http://127.0.0.1:{port}"})
    connection = await websocket_connect(request, subprotocols=["bokeh", token])
    assert "ACK" in await connection.read_message()
    # The page has loaded, as the browser's own code says it: the app begins only then.
    for part in READY.header_json, READY.metadata_json, READY.content_json:
        await connection.write_message(part)
    try:
        yield
    finally:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_serve_ends_a_session_within_five_seconds_of_its_tab_s_end(tmp_path, monkeypatch):
    """Served from another folder than the repository, as where the package is installed."""

    async def open_and_close(running, port):
        def threads():
            return len(list(Path(f"/proc/{running.pid}/task").iterdir()))

        async with tab(port):
            pass  # the first one starts threads that stay, of the server and of torch
        await asyncio.sleep(4)
        idle = threads()
        async with tab(port):
            await asyncio.sleep(4)
            assert threads() > idle, "a tab that is open keeps its worker"
        began = time.monotonic()
        while threads() > idle:
            assert time.monotonic() - began < 5, "the session's thread lives on"
            await asyncio.sleep(0.05)

    monkeypatch.chdir(tmp_path)
    with served() as (running, port):
        aside(asyncio.run, open_and_close(running, port))
    assert running.returncode == 0


def test_serve_says_when_a_port_is_taken():
    with socket.create_server(("localhost", 0)) as taken:
        done = invoke("serve", "--port", taken.getsockname()[1])
    assert done.exit_code == 2
    assert re.fullmatch(
        r"explorer: port = \d+ at address localhost is not available: Address already in use\.\n", done.stderr
    )

"""Nonsense and malice at every door: a sentence each, nothing executed, nothing crashed.

What files of runs are refused for, bombs included, is in `test_store_exports`; what a running server answers, in
`test_serving`; what a plug-in's functions may do, in `test_separate`.
"""

import contextlib
import gzip
import io
import json
import os
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from explorer.app.controls import Controls
from explorer.base.declared import Declared
from explorer.cli.train import configure, parse_seeds
from explorer.records.store import Store, import_runs
from explorer.training.separate import optimizer as plugins
from explorer.training.separate.process import Process
from explorer.training.separate.wire import LENGTH, LONGEST

DEEP = "[" * 100_000
NASTY = [
    "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd\x00.py", "file:///etc/passwd",
    "C:\\windows\\system", "1e999", "-1e999", "9" * 400, "9" * 9000, "nan", "NaN", "inf", "-0x1p9999", "1_0__0", "0b1",
    "--1", "1,2,,3",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "{{7*7}}", "${jndi:ldap://x}",
    "'; DROP TABLE runs; --", "__import__('os').system('id')", "__class__", "os:system", "subprocess:Popen",
    "torch:load", "builtins:eval", "a+b+c+d", "+", ":", "adam+", "adam:__init__", "\u202egnirts",
    "\U0001f600" * 50, "\x1b[31m", "a\r\nSet-Cookie: x", "x" * 100_000, DEEP, json.dumps({"a": DEEP}), "true", "None",
    "null", "%00", "%", "&", "=",
]  # fmt: skip
FIELDS = ["num_hidden_layers", "noise_std", "seeds", "first_seed", "optimizer", "modify", "preset", "device"]


@pytest.fixture(autouse=True)
def nothing_is_executed(monkeypatch):
    """What malice would reach for."""

    def executed(*arguments, **options):
        raise AssertionError(f"executed: {arguments}")

    monkeypatch.setattr(os, "system", executed)
    monkeypatch.setattr("subprocess.Popen.__init__", executed)
    monkeypatch.setattr("builtins.eval", executed)


@pytest.fixture(scope="module")
def controls():
    return Controls(lambda name: None, lambda sentence: None)


def refused(controls, entries):
    """Load an address of `entries`: every setting is still one that is allowed; the sentences."""
    said = controls.load("?" + urlencode(entries, errors="surrogatepass"), {})
    for declared in (controls.challenge, controls.entrant.built, controls.setup):
        assert isinstance(declared, Declared)
        for name in declared.fields():
            declared.check(name, getattr(declared, name))
    assert all(isinstance(sentence, str) and sentence.startswith("In the address: ") for sentence in said)
    return said


@pytest.mark.parametrize("field", FIELDS)
def test_hand_picked_nonsense_in_an_address_is_refused_with_a_sentence(controls, field):
    for text in NASTY:
        assert refused(controls, {field: text}), (field, text[:40])


@pytest.mark.parametrize("text", NASTY[:-6])
def test_lanes_of_an_address_that_are_none_are_refused(controls, text):
    assert refused(controls, {"lane2": text})
    assert refused(controls, {"lane2": f"optimizer={text}"})
    assert len(controls.lanes.entrants) == 1


@seed(20)
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(entries=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=20), st.text(max_size=60), max_size=6))
def test_any_address_is_taken_or_refused_in_sentences(controls, entries):
    refused(controls, entries)


@pytest.mark.parametrize("text", NASTY)
def test_nonsense_on_the_command_line_is_a_value_error(text):
    for setting in (f"num_hidden_layers={text}", f"lr={text}", f"{text}=1", text):
        with pytest.raises(ValueError, match=r"\."):
            configure("tig", "adam", [setting])
    if text != "9" * 400:  # which the fleet refuses
        with pytest.raises(ValueError, match="seeds = "):
            parse_seeds(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PARTS = ["name", "kind", "default", "doc", "objects", "bounds", "softbounds", "inclusive_bounds"]
KIND = st.sampled_from(["log", "number", "integer", "choice", "boolean", "text", "exec"])


@seed(21)
@settings(max_examples=200, deadline=None, database=None)
@given(
    told=st.fixed_dictionaries(
        {
            "key": st.just("mine") | JSON,
            "doc": st.just("") | JSON,
            "rates": JSON,
            "fields": st.lists(st.dictionaries(st.sampled_from(PARTS), KIND | st.just("x") | JSON), max_size=3) | JSON,
        }
    )
)
def test_whatever_a_plug_in_says_of_itself_is_a_class_or_a_sentence(told):
    with contextlib.suppress(ValueError):
        members = plugins._class(told)
        type(members["key"], (plugins.Separate,), members)()


def said(data, name="bad.py"):
    """What becomes of an answer of these bytes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.write(writing, data)
    os.close(writing)
    process = object.__new__(Process)
    child = SimpleNamespace(stdin=io.BytesIO(), wait=lambda *_: 0, returncode=0, pid=2**22 + 1)
    child.stdout = os.fdopen(reading, "rb")
    vars(process).update(name=name, over="", _child=child, _base=None, _looked=0.0)
    process._selector = SimpleNamespace(select=lambda timeout: True, close=lambda: None)
    return process._receive(1.0)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "ended by itself"),
        (b"\x01\x00", "ended by itself"),
        (LENGTH.pack(10) + b"{}", "ended by itself"),
        (LENGTH.pack(LONGEST + 1), "said more than it may"),
        (b"\xff\xff\xff\xff" + b"x" * 1000, "said more than it may"),
        (LENGTH.pack(4) + b"\x80\x04N.", "not understood"),  # a pickle
        (LENGTH.pack(2) + b"[]", "not understood"),
        (LENGTH.pack(4) + b"null", "not understood"),
        (LENGTH.pack(60_000) + b"[" * 60_000, "not understood"),
        (LENGTH.pack(3) + b"NaN", "not understood"),
        (LENGTH.pack(2) + b"\xff\xfe", "not understood"),
    ],
)
def test_what_a_plug_in_s_process_says_is_never_believed(data, sentence):
    with pytest.raises(ValueError, match=rf"^bad.py .*{sentence}"):
        said(data)


def test_what_is_understood_is_taken():
    assert said(LENGTH.pack(12) + b'{"state": 3}') == {"state": 3}


UPLOADS = {
    "empty": b"",
    "no gzip": b"PK\x03\x04" + b"\0" * 100,
    "a pickle": gzip.compress(b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR."),
    "HTML": gzip.compress(b"<html><script>alert(1)</script></html>\n"),
    "cut short": gzip.compress(os.urandom(5000))[:500],
    "deep": gzip.compress(DEEP.encode() + b"\n"),
    "another format": gzip.compress(b'{"format": "other", "version": 1}\n'),
    "a version to come": gzip.compress(b'{"format": "optimizer-explorer runs", "version": 99}\n'),
    "NaN": gzip.compress(b'{"format": "optimizer-explorer runs", "version": NaN}\n'),
    "a long line": gzip.compress(b"[" + b"1," * (9 << 20)),
    "a bomb": gzip.compress(gzip.compress(b"\0" * (100 << 20))),
    "zeros": gzip.compress(b"\0" * (100 << 20), 1),
    "100 MB": b"\x1f\x8b" + b"\0" * 100_000_000,
}


@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_that_is_no_file_of_runs_is_refused_with_a_sentence(tmp_path, name):
    store = Store(f"sqlite:///{tmp_path}/runs.db")
    with pytest.raises(ValueError, match=r"\.$"):
        import_runs(store, io.BytesIO(UPLOADS[name]))
    store.close()

"""`explorer serve` from outside: its caps, its headers, and what can be watched."""

import asyncio
import json
import logging
import re
import signal

import pytest
from aside import aside
from puppets import TINY, Descent
from test_cli import served, tab
from test_worker import Listener
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from explorer.app import server
from explorer.records import Fault
from explorer.training import caps
from explorer.training.plan import Entry, Plan


@pytest.fixture
def capped():
    yield caps.set_caps
    caps.set_caps(caps.Caps())


@pytest.mark.parametrize(
    ("cap", "sentence"),
    [
        (caps.Caps(runs=11), "12 runs are not allowed here: this server takes 11 at most."),
        (caps.Caps(epochs=40), "50 epochs are not allowed here: this server takes 40 at most."),
        (caps.Caps(layers=1), "2 layers are not allowed here: this server takes 1 at most."),
        (caps.Caps(runs=12, epochs=50, layers=2), None),
    ],
)
def test_a_start_that_asks_for_more_than_the_server_takes_is_refused_with_a_sentence(capped, cap, sentence):
    capped(cap)
    small, deep = TINY.replace(max_epochs=40), TINY.replace(num_hidden_layers=2, max_epochs=50)
    lanes = Entry("swept", small, Descent(lr=[0.1, 0.2])), Entry("deep", deep, Descent())
    listener = Listener()
    listener.worker.start(Plan(lanes, (0, 1, 2, 3), device="cpu"))
    if sentence is None:
        listener.until(lambda: listener.epoch >= 1)
    else:
        listener.until(lambda: listener.of(Fault))
        assert [fault.message for fault in listener.of(Fault)] == [sentence]
    assert listener.worker.close()


def test_a_line_of_the_log_is_json_whatever_is_in_it():
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        record = logging.LogRecord(
            "explorer.x", logging.ERROR, "f", 1, "two\nlines %s", ("<b>",), (ValueError, error, None)
        )
    record.facts = {"session": 3, "said": "\x1b[31m\n"}
    (line,) = server.Lines().format(record).splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["session"]) == ("two\nlines <b>", "error", 3)
    assert "ValueError: a\nb" in told["traceback"]


def test_who_finds_no_room_is_told_so():
    (alert,) = server.full(2).main
    assert alert.objects[0].object.startswith("This server takes 2 sessions at a time, and all are taken.")


async def look(port):
    client, at = AsyncHTTPClient(), f"http://127.0.0.1:{port}"
    page = await client.fetch(at, request_timeout=60)
    for name, value in server.HEADERS.items():
        assert page.headers[name] == value
    assert "Server" not in page.headers
    assert (await client.fetch(f"{at}/static/js/bokeh.min.js")).headers["X-Content-Type-Options"] == "nosniff"
    async with tab(port), tab(port):  # that page takes a place, too, until it is clear that no browser comes for it
        health = json.loads((await client.fetch(f"{at}/healthz")).body)
        assert (health["status"], health["sessions"]) == ("ok", 3)
        full = (await client.fetch(at)).body.decode()
        token = re.search(r'"token":"([^"]+)"', full)[1]
        metrics = (await client.fetch(f"{at}/metrics")).body.decode()
    assert "explorer_sessions 3.0" in metrics
    assert "explorer_sessions_refused_total 1.0" in metrics
    assert "process_resident_memory_bytes" in metrics
    foreign = HTTPRequest(f"ws://127.0.0.1:{port}/ws", headers={"Origin": "http://elsewhere.example"})
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(foreign, subprotocols=["bokeh", token])
    assert refused.value.code == 403
    for path in ("/../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/static//etc/passwd"):
        with pytest.raises(HTTPClientError) as refused:
            await client.fetch(at + path)
        assert refused.value.code in (403, 404)
    with pytest.raises(Exception, match=r"closed|HTTP 4|reset|Broken"):
        await client.fetch(at, method="POST", body=b"x" * (21 << 20), request_timeout=20)
    for _ in range(100):  # the tabs are closed, and the page that nobody came for keeps its place
        health = json.loads((await client.fetch(f"{at}/healthz")).body)
        if health["sessions"] == 1:
            break
        await asyncio.sleep(0.1)
    assert (health["status"], health["sessions"]) == ("ok", 1)


def test_serve_is_guarded_watched_and_full_when_it_is_full():
    with served("--max-sessions", "3", "--at-once", "1") as (running, port):
        aside(asyncio.run, look(port))
        running.send_signal(signal.SIGINT)
        events = [json.loads(line) for line in running.stdout if line.startswith("{")]
    assert {"session opened", "session refused", "session closed"} <= {line["event"] for line in events}
    assert running.returncode == 0

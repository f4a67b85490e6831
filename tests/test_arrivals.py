"""A crowd at the door of a server, tabs that close, and what stays of them: nothing."""

import asyncio
import subprocess
import sys
from types import SimpleNamespace

import pytest
from aside import aside
from bokeh.document import Document
from panel.io import document as sending

from explorer.app import arrivals
from explorer.app.arrivals import Arrivals
from explorer.app.wire import send_left_behind

ALONE = """
import gc
from functools import partial
from types import SimpleNamespace
from bokeh.document import Document
from panel.io import document as sending
from panel.io.state import set_curdoc, state
from explorer.app.explorer import Explorer
from explorer.app.page import page

def alive():
    gc.collect()
    return sum(isinstance(each, Explorer) for each in gc.get_objects())

def come_and_go():
    document = Document()
    with set_curdoc(document):
        whole = page()
        whole.server_doc(document, location=True)
        print("inside", alive(), len(state._views) > 0)
        context = SimpleNamespace(_document=document, id="a session")
        for callback in document.session_destroyed_callbacks:
            callback(context)
    document.destroy = partial(sending._destroy_document, document)  # as Panel's server has it
    document.destroy(None)

come_and_go()
print("gone", alive(), len(state._views))
"""


def test_nothing_stays_of_a_page_that_is_closed():
    """In a process of its own: in this one other tests' pages and servers come and go."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[-2:] == ["inside 1 True", "gone 0 0"], done.stderr


@pytest.mark.parametrize(("late", "breaths"), [(0.0, 1), (0.8, 1), (6.0, 7)])
def test_the_next_page_is_made_once_everybody_inside_has_been_heard(late, breaths, monkeypatch):
    """late: by how many breaths a server that has much to do comes back late from each."""
    clock, made, slept = [0.0], [], []
    monkeypatch.setattr(arrivals.time, "monotonic", lambda: clock[0])

    async def sleep(seconds):
        slept.append(len(made))
        clock[0] += (1 + late) * seconds
        await asyncio.tasks.__sleep0()

    monkeypatch.setattr(arrivals.asyncio, "sleep", sleep)
    door = Arrivals()

    async def come(name):
        await door.on_session_created(SimpleNamespace(id=name))
        clock[0] += 0.8  # a page is made
        door.modify_document(Document())
        made.append(name)

    async def all_at_once():
        await asyncio.gather(*map(come, "abc"))

    aside(asyncio.run, all_at_once())
    assert made == ["a", "b", "c"]
    assert [slept.count(place) for place in range(3)] == [0, breaths, breaths]


def session(id, connections, left):
    asked = []
    return asked, SimpleNamespace(
        id=id,
        connection_count=connections,
        milliseconds_since_last_unsubscribe=left,
        request_expiration=lambda: asked.append(id),
    )


def test_only_a_tab_that_was_there_and_is_closed_ends_its_session_early():
    door = Arrivals()
    door._seen = {"open", "closed", "reloading"}
    listed = [session("open", 1, 9000), session("closed", 0, 2000), session("reloading", 0, 1000),
              session("not there yet", 0, 9000)]  # fmt: skip
    door.sweep([each for _, each in listed])
    assert [asked for asked, _ in listed] == [[], ["closed"], [], []]


def test_a_page_is_seen_once_it_says_that_it_is_there():
    door, document = Arrivals(), Document()
    context = SimpleNamespace(id="a")  # held here: a document has only a weak reference to it
    document._session_context = lambda: context
    door.modify_document(document)
    assert door._seen == set()
    for callback in document.callbacks._event_callbacks["document_ready"]:
        callback(None)
    assert door._seen == {"a"}
    aside(asyncio.run, door.on_session_destroyed(context))
    assert door._seen == set()


def test_it_tidies_up_once_when_nobody_has_been_inside_for_a_while(monkeypatch):
    clock, tidied = [0.0], []
    monkeypatch.setattr(arrivals.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(arrivals.release, "tidy", lambda: tidied.append(clock[0]))
    door = Arrivals()
    door.sweep([])
    aside(asyncio.run, door.on_session_destroyed(SimpleNamespace(id="a")))
    for clock[0], others in ((1.0, []), (6.0, [session("b", 1, 0.0)[1]]), (7.0, []), (20.0, [])):
        door.sweep(others)
    assert tidied == [7.0]


@pytest.mark.parametrize("marked", [False, True])
def test_what_panel_forgot_to_send_is_sent(marked, monkeypatch):
    """As it is after the end of a first message has taken the mark of a second one away."""
    document, sent = Document(), []
    monkeypatch.setattr(sending, "_dispatch_write_task", lambda *what: sent.append(what))
    sending._WRITE_MSGS[document] = {}
    if marked:  # it is on its way
        sending._WRITE_BLOCK[document] = True
    send_left_behind(document)
    assert sent == ([] if marked else [(document, sending._dispatch_msgs, document)])
    assert sending._WRITE_BLOCK[document]
    sent.clear()
    send_left_behind(Document())
    send_left_behind(None)
    assert sent == []

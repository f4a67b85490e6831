"""A store that is locked, damaged or full, as a person at the page meets it: a sentence, and training goes on."""

import sqlite3

import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc
from stored import until

import explorer as ex
from explorer.app import explorer as whole
from explorer.app.pages import Pages
from explorer.records import Phase
from explorer.records.store import Recorder, Store, engine

CHALLENGE = ex.Challenge.preset("tig", width=8, train_size=64, max_epochs=4)


@pytest.fixture
def opened(monkeypatch):
    """The app as a process makes it whose store this is: its explorer, and its History page's notice."""
    made = []

    def opened(url):
        monkeypatch.setenv(engine.VARIABLE, url)
        recorder = Recorder(url)
        monkeypatch.setattr(whole, "shared", lambda: recorder)
        made.append((ex.Explorer(CHALLENGE, seeds=64), recorder))
        return made[-1]

    yield opened
    for explorer, recorder in made:
        explorer.close()
        recorder.close(0.1)


def locked(path, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    Store(f"sqlite:///{path}").close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    return holder


def damaged(path, monkeypatch):
    path.write_bytes(b"not a database" * 1000)


def full(path, monkeypatch):
    """SQLite's own limit stands for the disk's: it answers in the same way."""
    Store(f"sqlite:///{path}").close()
    set_up = engine._set_up

    def without_room(connection, record):
        set_up(connection, record)
        connection.execute("PRAGMA max_page_count = 1")

    monkeypatch.setattr(engine, "_set_up", without_room)


@pytest.mark.parametrize(
    ("spoil", "sentence", "readable"),
    [(locked, "is locked by another program", False), (damaged, "is damaged", False), (full, "is full", True)],
)
def test_the_page_says_what_is_wrong_with_the_store_and_trains_on(
    spoil, sentence, readable, opened, tmp_path, monkeypatch
):
    path = tmp_path / "store.db"
    held = spoil(path, monkeypatch)
    explorer, recorder = opened(f"sqlite:///{path}")
    explorer.start()
    explorer.wait(60)
    assert explorer.session.phase is Phase.FINISHED
    assert explorer.session.epoch == 4
    until(lambda: recorder.trouble)
    explorer.display.take_in()
    assert explorer.notice.panel.visible
    assert sentence in explorer.notice.text
    assert "What is trained meanwhile waits in memory." in explorer.notice.text
    with set_curdoc(Document()):
        pages = Pages()
        pages.show("History")
    history = pages._made["History"]
    assert history._notice.visible is not readable
    assert readable or sentence in history._html.object
    pages.explorer.close()
    del held

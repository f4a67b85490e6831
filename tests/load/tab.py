"""A tab of the explorer's page without a browser: Bokeh's own protocol over a websocket, and what the page shows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from html import unescape
from typing import Any

from bokeh.client.websocket import WebSocketClientConnectionWrapper
from bokeh.protocol import Protocol
from bokeh.protocol.messages.patch_doc import patch_doc
from bokeh.protocol.receiver import Receiver
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

LARGEST = 64 << 20
"""Bytes of one message of the server's."""


class Tab:
    """One session of a server: press its buttons, change its widgets, read what it shows.

    faults: sentences about what should not be: errors that the server answers, warnings on the page, a lost connection.
    """

    def __init__(self, port: int, search: str = "") -> None:
        self._at = f"127.0.0.1:{port}/"
        self._search = search
        self._receiver = Receiver(Protocol())
        self._ids: dict[str, str] = {}
        self._news = asyncio.Condition()
        loop = asyncio.get_running_loop()
        self._welcomed: asyncio.Future[None] = loop.create_future()
        self._pulled: asyncio.Future[None] = loop.create_future()
        self._closing = False
        self.address = self.status = self.cards = ""
        self.faults: list[str] = []

    @property
    def epoch(self) -> int:
        """The last epoch that the page shows."""
        found = re.search(r"<dt>Epoch</dt><dd>(\d+)", self.cards)
        return int(found[1]) if found else 0

    async def open(self) -> None:
        """Get the page, connect with its token, and take its whole document, as a browser does."""
        browser = AsyncHTTPClient(force_instance=True)  # one for all would let ten ask at a time
        page = HTTPRequest(f"http://{self._at}{self._search}", request_timeout=300, connect_timeout=300)
        answer = await browser.fetch(page)
        browser.close()
        token = re.search(r'"token":"([^"]+)"', answer.body.decode())
        assert token is not None, "the page has no token"
        request = HTTPRequest(f"ws://{self._at}ws", headers={"Origin": f"http://{self._at[:-1]}"}, request_timeout=300)
        socket = await websocket_connect(request, subprotocols=["bokeh", token[1]], max_message_size=LARGEST)
        self._socket = WebSocketClientConnectionWrapper(socket)
        self._reader = asyncio.create_task(self._read())
        await self._welcomed
        await Protocol().create("PULL-DOC-REQ").send(self._socket)
        await self._pulled
        await self._tell({"type": "event", "name": "document_ready", "values": {"type": "map"}})

    async def close(self) -> None:
        """Leave, as when the tab is closed."""
        self._closing = True
        self._socket.close()
        await self._reader

    async def press(self, button: str) -> None:
        """Press the button with this label."""
        of = ["model", {"id": self._ids[f"Button {button}"]}]
        entries = [of, ["node", "click"], ["data", {"type": "map"}]]
        await self._tell({"type": "event", "name": "dom_event", "values": {"type": "map", "entries": entries}})

    async def change(self, label: str, value: Any) -> None:
        """Set the widget with this label."""
        data = {"id": self._ids[label]}
        await self._send([{"kind": "ModelChanged", "model": data, "attr": "value", "new": value}])

    async def until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Whether what the page shows meets `condition` within so many seconds."""
        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: self._reader.done() or condition())
        except TimeoutError:
            return False
        return condition()

    async def _tell(self, event: dict[str, Any]) -> None:
        await self._send([{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}])

    async def _send(self, events: list[dict[str, Any]]) -> None:
        await patch_doc(patch_doc.create_header(), {}, {"events": events}).send(self._socket)  # pyright: ignore[reportArgumentType]

    async def _read(self) -> None:
        """Take in what the server sends until the connection ends."""
        while (fragment := await self._socket.read_message()) is not None:
            message = await self._receiver.consume(fragment)
            if message is None:
                continue
            match message.msgtype:
                case "ACK":
                    self._welcomed.set_result(None)
                case "ERROR":
                    self.faults.append(f"The server answered: {message.content['text']}")
                case "PULL-DOC-REPLY":
                    self._index(message.content)
                    self._pulled.set_result(None)
                case "PATCH-DOC":
                    for event in message.content["events"]:
                        self._hear(event)
            async with self._news:
                self._news.notify_all()
        if not self._closing:
            self.faults.append("The server closed the connection.")
        for waited in (self._welcomed, self._pulled):
            waited.cancel()  # nobody waits for what does not come any more
        async with self._news:
            self._news.notify_all()

    def _hear(self, event: dict[str, Any]) -> None:
        new = event.get("new")
        match event.get("attr"):
            case "search":
                self.address = new
            case "text" if isinstance(new, str):
                self._show(unescape(new))
        self._index(new)

    def _show(self, text: str) -> None:
        if "<dt>Epoch</dt>" in text:
            self.cards = text
        elif text.startswith('<p role="status">'):
            self.status = text
        elif re.search(r"could not|failed|locked|full:|damaged", text):
            self.faults.append(f"The page said: {text}")

    def _index(self, found: Any) -> None:
        """Know widgets by their labels; a button's events belong to its view, a widget's value to its data."""
        if isinstance(found, list):
            for one in found:
                self._index(one)
        elif isinstance(found, dict):
            attributes = found.get("attributes", {})
            data = attributes.get("data")
            if isinstance(data, dict) and "label" in data.get("attributes", {}):
                label = data["attributes"]["label"]
                self._ids[label] = data["id"]
                self._ids[f"{attributes.get('class_name')} {label}"] = found["id"]
            for one in found.values():
                self._index(one)

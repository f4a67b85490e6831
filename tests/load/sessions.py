"""A class on one server: is everybody answered, is every epoch kept, and is everything given back?

    python tests/load/sessions.py --sessions 50 --minutes 5

Serves the app in a process of its own on two processor cores, with a store of its own, and lets so many sessions in, by
the browser's protocol.  Each starts, changes, pauses, stops and restarts small experiments of 1 to 4 runs for so long.
What it shows, and the limits that it must keep:

- exceptions in the server's log, errors in its answers, warnings on the page: none;
- from the change of a widget to an answer that depends on it (the address, with the new value): 99 of 100 in 2 s;
- every experiment that a session saw train is in the store, with every epoch that was seen, none missing between;
- threads and memory a minute after the last has left: those of before, to 5 %.  "Before" is after a few sessions that
  trained and left: what the first ones load, stays.

The exit code is 1 if anything was not so.  Best on an idle machine: the sessions take time of its processors, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from tab import Tab
from tornado.netutil import bind_sockets

from explorer.records.store import ENDED, Store

CORES = 2
LINK = "?preset=brief&num_hidden_layers=2&width=64&max_epochs=100"
"""What the teacher wrote on the wall."""
ANSWERED, GIVEN_UP = 2.0, 30.0
"""Seconds in which 99 of 100 changes must be answered, and after which one counts as unanswered."""
ARRIVING = 0.4
"""Seconds between two who come in, so that a class of fifty is at the door within twenty seconds."""
WARMING = 10, 0.6
"""Sessions before the first measure, and their minutes."""
AFTERWARDS = 60.0
"""Seconds from the last one's leaving to the second measure."""
KEPT = 1.05
"""By how much threads and memory may have grown."""


@dataclass
class Start:
    """An experiment that was asked for.  lr: by which it is known in the store.  seen: the last epoch that was shown.
    whole: it was seen to end."""

    lr: float
    runs: int
    seen: int = 0
    whole: bool = False


@dataclass
class Person:
    """Somebody at a tab, and what became of it.  changes: seconds until each was answered."""

    number: int
    port: int
    starts: list[Start] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    opened: float = float("nan")

    def __post_init__(self) -> None:
        self._chance = random.Random(self.number)
        self._rates = 0

    async def attend(self, until: float) -> None:
        """Come in, work until then, and leave; whoever is still training, leaves that, too."""
        tab = self._tab = Tab(self.port, LINK)
        try:
            began = time.monotonic()
            await tab.open()
            self.opened = time.monotonic() - began
            await asyncio.sleep(self._chance.uniform(1, 3))
            while time.monotonic() < until:
                await self._experiment(until)
            await tab.close()
        except (Exception, asyncio.CancelledError) as error:
            self.faults.append(f"The session failed: {error!r}")
        self.faults += tab.faults

    async def _experiment(self, until: float) -> None:
        """Set something up, start it, and do with it what people do."""
        chance, tab = self._chance, self._tab
        runs = chance.randint(1, 4)
        if f"seeds={runs}" not in tab.address:
            await self._change("Seeds", str(runs), "seeds", "" if runs == 1 else None)
        await self._change("Hidden layers", chance.choice([1, 3]), "num_hidden_layers")
        start = Start(await self._rate(), runs)
        await tab.press("Start")
        if not await tab.until(lambda: "<b>Training" in tab.status or "<b>Preparing" in tab.status, GIVEN_UP):
            self.faults.append(f"Start had no answer in {GIVEN_UP:g} s: {tab.status}")
            return
        self.starts.append(start)
        patience = min(chance.uniform(2, 40), max(2.0, until - time.monotonic()))
        what = chance.choice(["finish", "stop", "stop", "pause"])
        leaves = time.monotonic() + patience
        while time.monotonic() < leaves and "<b>Finished" not in tab.status:
            await asyncio.sleep(chance.uniform(0.5, 3))
            if chance.random() < 0.5:
                await self._rate()
            else:
                await self._change("Accuracy factor", chance.randrange(100, 2900, 50), "accuracy_factor")
            if what == "pause" and "<b>Training" in tab.status:
                await tab.press("Pause")
                if await tab.until(lambda: "<b>Training" not in tab.status, GIVEN_UP):
                    await asyncio.sleep(chance.uniform(0, 2))
                    await tab.press("Start")
        if time.monotonic() < until:
            await tab.press("Stop")
            ended = ("<b>Finished", "<b>Stopped")
            if not await tab.until(lambda: any(word in tab.status for word in ended), GIVEN_UP):
                self.faults.append(f"Stop had no answer in {GIVEN_UP:g} s: {tab.status}")
            start.whole = True
        start.seen = tab.epoch

    async def _rate(self) -> float:
        """Set a learning rate that nobody has had; what it is."""
        self._rates += 1
        rate = round(0.001 + 1e-5 * self.number + 1e-9 * self._rates, 9)
        await self._change("Learning rate η", str(rate), "lr")
        return rate

    async def _change(self, label: str, value: object, name: str, spelt: str | None = None) -> None:
        """Change a widget, and wait until the address says so; `spelt`: empty where it leaves the value out."""
        tab = self._tab
        entry = f"{name}={value}"

        def answered() -> bool:
            return (f"{name}=" not in tab.address) if spelt == "" else f"{entry}&" in f"{tab.address}&"

        if answered():
            return
        began = time.monotonic()
        await tab.change(label, value)
        if await tab.until(answered, GIVEN_UP):
            self.changes.append(time.monotonic() - began)
        else:
            self.changes.append(GIVEN_UP)
            self.faults.append(f"{label} = {value} had no answer in {GIVEN_UP:g} s: {tab.address}  {tab.status}")


class Served:
    """A server in a process of its own, and what it writes."""

    def __init__(self, folder: str) -> None:
        self.url = f"sqlite:///{folder}/store.db"
        (socket, *others) = bind_sockets(0, "127.0.0.1")
        self.port = socket.getsockname()[1]
        for each in (socket, *others):
            each.close()
        command = [sys.executable, "-m", "explorer", "serve", "--port", str(self.port)]
        environment = os.environ | {"EXPLORER_STORE": self.url}
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(everywhere)[:CORES])
        self._running = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, text=True
        )
        os.sched_setaffinity(0, everywhere)
        self.process = psutil.Process(self._running.pid)
        self.lines: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._running.stderr or ():
            self.lines.append(line)

    async def ready(self) -> None:
        """Wait until it answers."""
        for _ in range(600):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
        raise TimeoutError("The server does not answer.")

    @property
    def faults(self) -> list[str]:
        """The lines of its log that tell of something that should not be."""
        bad = []
        for line in self.lines:
            said = json.loads(line) if line.startswith("{") else {"level": "error" if line.strip() else "info"}
            if (said["level"] not in ("info", "debug") or "traceback" in said) and line != "Loading …\n":
                bad.append(line.strip()[:2000])
        return bad

    def measure(self) -> tuple[int, float]:
        """Its threads, and the mebibytes that it holds."""
        return self.process.num_threads(), self.process.memory_info().rss / 2**20

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._running.send_signal(signal.SIGINT)
        try:
            self._running.wait(30)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self.lines.append("The server did not end within 30 s.")
        self._listener.join()


def missing(store: Store, person: Person) -> list[str]:
    """Sentences about what a person saw that is not in the store."""
    wrong = []
    by_rate = {}
    for one in store.find(search=f"{0.001 + 1e-5 * person.number:.5f}", limit=10_000):
        history = store.history(one.id, 0)
        by_rate[float(history.runs[0].hyperparameters["lr"])] = one, history
    for start in person.starts:
        if start.seen == 0 and start.lr not in by_rate:
            continue  # it never came to its turn
        if start.lr not in by_rate:
            wrong.append(f"Session {person.number}: the experiment with lr = {start.lr} is not in the store.")
            continue
        one, history = by_rate[start.lr]
        at = f"Session {person.number}, experiment {one.id} ({one.phase})"
        if len(history.runs) != start.runs:
            wrong.append(f"{at}: {len(history.runs)} runs are there, not {start.runs}.")
        if history.epoch < start.seen or (start.whole and history.epoch != start.seen):
            wrong.append(f"{at}: {history.epoch} epochs are there, {start.seen} were seen.")
        for run, epochs in enumerate(history.epochs):
            if not np.isfinite(history.losses[:, run, :epochs]).all() or epochs > history.epoch:
                wrong.append(f"{at}: of run {run}'s {epochs} epochs some are missing.")
        if one.phase not in ENDED:
            wrong.append(f"{at}: it has no end.")
    return wrong


async def attend(served: Served, people: list[Person], minutes: float, pause: float) -> None:
    """Everybody comes in, one after another, and works until the time is over."""
    until = time.monotonic() + 60 * minutes

    async def come(place: int, person: Person) -> None:
        await asyncio.sleep(place * pause)
        await person.attend(until)

    await asyncio.gather(*(come(place, person) for place, person in enumerate(people)))


async def class_of(sessions: int, minutes: float, folder: str) -> bool:
    """Hold a class; whether everything was as it should be."""
    served = Served(folder)
    try:
        await served.ready()
        warming, short = WARMING
        first = [Person(1000 + number, served.port) for number in range(warming)]
        await attend(served, first, short, ARRIVING)
        await asyncio.sleep(15)
        threads, memory = served.measure()
        print(f"{sessions} sessions for {minutes:g} min; before: {threads} threads, {memory:.0f} MiB", flush=True)
        people = [Person(number, served.port) for number in range(sessions)]
        most = [0, 0.0]
        at_work = asyncio.create_task(attend(served, people, minutes, ARRIVING))
        processor = served.process.cpu_times()
        began = time.monotonic()
        while not at_work.done():
            most = list(map(max, most, served.measure()))
            await asyncio.wait([at_work], timeout=1)
        await at_work
        took = time.monotonic() - began
        used = served.process.cpu_times()
        own = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(AFTERWARDS)
        threads_after, memory_after = served.measure()
    finally:
        served.stop()
    store = Store(served.url)
    faults = [*served.faults, *(f"Session {one.number}: {said}" for one in [*first, *people] for said in one.faults)]
    lost = [sentence for one in people for sentence in missing(store, one)]
    store.close()
    changes = sorted(change for one in people for change in one.changes)
    late = float(np.quantile(changes, 0.99))
    starts = [start for one in people for start in one.starts]
    trained = [start for start in starts if start.seen]
    rows = [
        ("exceptions, errors, warnings", len(faults), "0", not faults),
        ("widget changes answered, 99th percentile, s", f"{late:.2f}", f"{ANSWERED:g}", late <= ANSWERED),
        ("experiments or epochs missing in the store", len(lost), "0", not lost),
        ("threads, a minute after", threads_after, f"{threads} + 5 %", threads_after <= KEPT * threads),
        ("memory, a minute after, MiB", f"{memory_after:.0f}", f"{memory:.0f} + 5 %", memory_after <= KEPT * memory),
    ]
    for what, found, limit, good in rows:
        print(f"{what:46} {found!s:>8}   limit {limit:12} {'kept' if good else 'MISSED'}")
    shares = "  ".join(f"{share:g} % {np.quantile(changes, share / 100):.2f} s" for share in (50, 90, 95, 99, 100))
    print(f"{len(changes)} changes: {shares}")
    seen = sum(start.seen * start.runs for start in trained)
    print(f"{len(starts)} starts, of which {len(trained)} trained before they were left: {seen} epochs of runs seen")
    opened = statistics.median(one.opened for one in people)
    print(f"opening the page: median {opened:.1f} s; at most {most[0]} threads, {most[1]:.0f} MiB")
    servers, sessions_own = used.user + used.system - processor.user - processor.system, own.ru_utime + own.ru_stime
    print(f"processor time in {took:.0f} s: the server's {servers:.0f} s, the sessions' {sessions_own:.0f} s")
    for sentence in [*faults, *lost][:40]:
        print(sentence)
    return all(good for *_, good in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=50, help="how many at once")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        Path(where).chmod(0o700)
        sys.exit(0 if asyncio.run(class_of(given.sessions, given.minutes, where)) else 1)

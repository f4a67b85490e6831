"""Whether a large race stays live in the page: updates a second, bytes and time of each, and the page's memory.

    python tests/browser/liveness.py [view] [minutes]

A worker that only talks (random losses of 6 optimizers × 16 seeds, 50 epochs a second, 1,000 in all, started again
whenever they end) takes the place of training, so that what is measured is the way from the worker to the page: server
time is that of the refresh itself; browser time is the page's main thread, all tasks between two refreshes.  Each is
given twice: on a processor, where what else the machine does is not counted, and by the wall clock.
"""

import sys
import threading
import time

import numpy as np
from pages import press, serve, until

from explorer.app.display import Display
from explorer.cli.browser import chromium
from explorer.records import Instances, Phase, Snapshot, Status
from explorer.training.experiment import Started
from explorer.training.worker import Worker

LANES, SEEDS, EPOCHS, PACE = 6, 16, 1000, 50
QUERY = "".join(
    f"&lane{lane}=optimizer%3D{name}" for lane, name in enumerate(("sgd", "muon", "lion", "soap", "adan"), 2)
)


class Parrot(Worker):
    """Says what a worker would say that trains `PACE` epochs a second."""

    def start(self, plan, paused=False):
        generation = self._latest = next(self._generations)
        threading.Thread(target=self._talk, args=(generation, plan), daemon=True).start()
        return generation

    def _talk(self, generation, plan):
        lanes = tuple(entry.optimizer for entry in plan.entries)
        runs = [tuple(_runs(optimizer, plan.seeds)) for optimizer in lanes]
        self._records.put(Started(generation, tuple(runs)))
        rng = np.random.default_rng(0)
        curves = 0.05 + np.exp(-np.arange(1, EPOCHS + 1) / 200) * rng.uniform(0.5, 1.5, (len(runs), 3, SEEDS, EPOCHS))
        for lane in range(len(runs)):
            self._records.put(Instances(generation, *np.full((4, SEEDS), 0.04), lane=lane))
        step = PACE // 10
        for first in range(0, EPOCHS, step):
            time.sleep(0.1)
            if generation != self._latest:
                return
            last = first + step
            status = Status.MAX_EPOCHS if last >= EPOCHS else Status.RUNNING
            phase = Phase.FINISHED if last >= EPOCHS else Phase.RUNNING
            ends = np.full(SEEDS, last)
            for lane in range(len(runs)):
                losses = curves[lane, :, :, first:last]
                stands = (status,) * SEEDS, ends, ends, last / PACE, ""
                self._records.put(Snapshot(generation, phase, first + 1, *losses, *stands, lane=lane))


def _runs(optimizer, seeds):
    from explorer.records import Run

    return [Run(seed, values) for values in optimizer.grid() for seed in seeds]


def main(view: str, minutes: float) -> None:
    import explorer.app.session as session

    session.Worker = Parrot
    took = []
    draw = Display.draw

    def timed(self):
        began, at = time.thread_time(), time.perf_counter()
        draw(self)
        took.append(((time.thread_time() - began) * 1e3, (time.perf_counter() - at) * 1e3))

    Display.draw = timed
    server, address = serve()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}?seeds={SEEDS}&view={view}{QUERY}")
        page.get_by_role("button", name="Start", exact=True).wait_for()
        until(lambda: not page.get_by_role("button", name="Start", exact=True).is_disabled())
        wire = page.context.new_cdp_session(page)
        wire.send("Network.enable")
        wire.send("Performance.enable", {"timeDomain": "timeTicks"})
        received = []
        wire.on("Network.webSocketFrameReceived", lambda event: received.append(len(event["response"]["payloadData"])))
        began, heaps = time.monotonic(), []
        while True:
            press(page, "Start")
            page.wait_for_timeout(2000)
            took.clear(), received.clear()
            busy, start = _busy(wire), time.monotonic()
            page.wait_for_timeout(14_000)
            seconds, refreshes = time.monotonic() - start, len(took)
            browser_ms = (_busy(wire) - busy) / refreshes * 1e3
            wire.send("HeapProfiler.collectGarbage")
            heaps.append(page.evaluate("performance.memory.usedJSHeapSize") / 2**20)
            server_ms = np.array(took)
            print(
                f"{view}: {refreshes / seconds:.2f} updates/s; each {sum(received) / refreshes / 1e3:.1f} KB, "
                f"processor: server {np.median(server_ms[:, 0]):.1f} ms (95 %: "
                f"{np.percentile(server_ms[:, 0], 95):.1f}), browser {browser_ms[0]:.1f} ms; "
                f"wall: server {np.median(server_ms[:, 1]):.1f} ms (95 %: {np.percentile(server_ms[:, 1], 95):.1f}), "
                f"browser {browser_ms[1]:.1f} ms; heap {heaps[-1]:.0f} MB",
                flush=True,
            )
            until(lambda: page.get_by_role("status").filter(has_text="Finished").count(), 30)
            if time.monotonic() - began > 60 * minutes:
                break
        print(f"{len(heaps)} races in {time.monotonic() - began:.0f} s: heap {heaps[0]:.0f} → {heaps[-1]:.0f} MB")
    server.stop()


def _busy(wire):
    """Seconds that the page's main thread has worked: on a processor, and by the wall clock."""
    found = {metric["name"]: metric["value"] for metric in wire.send("Performance.getMetrics")["metrics"]}
    return np.array([found["ThreadTime"], found["TaskDuration"]])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "Race", float(sys.argv[2]) if len(sys.argv) > 2 else 0)

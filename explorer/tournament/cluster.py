"""The same units on a Dask cluster: one fleet a worker at a time, lost workers' fleets trained again elsewhere.

Needs the extra `distributed`.  Dask's scheduler is the queue; outcomes come back to the process that asked, which alone
writes the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from explorer.tournament.runner import Player
from explorer.tournament.training import train
from explorer.tournament.units import Outcome, Unit

if TYPE_CHECKING:
    from distributed import Client


def local(workers: int, device: str = "auto") -> Player:
    """A player on a cluster of this machine, made for the occasion; several GPUs are shared out among its workers."""
    if workers < 1:
        raise ValueError(f"workers = {workers} is not allowed: it must be an integer from 1.")
    return _player({"n_workers": workers, "threads_per_worker": 1, "processes": True}, device)


def remote(address: str, device: str = "auto") -> Player:
    """A player on the cluster whose scheduler is at `address`, as tcp://host:8786; its workers need this package.

    A machine with several GPUs wants one worker, of one thread, for each: `CUDA_VISIBLE_DEVICES` says which is its.
    """
    return _player(address, device)


def gpus() -> int:
    """GPUs of this machine; `ValueError` if there is none."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ValueError("workers = 'gpus' is not allowed: this machine has no CUDA device.")
    return count


def train_on_worker(unit: Unit, device: str) -> Outcome:
    """What a worker does with a unit."""
    outcome = train(unit, own_device(device))
    assert outcome is not None, "nothing interrupts a worker"
    return outcome


def own_device(device: str) -> str:
    """This worker's share of its machine: of several GPUs one, by the worker's number."""
    from distributed import get_worker

    number, count = get_worker().name, torch.cuda.device_count() if torch.cuda.is_available() else 0
    shared = device in {"auto", "cuda"} and count > 1 and isinstance(number, int)
    return f"cuda:{number % count}" if shared else device


def _player(cluster: dict[str, Any] | str, device: str) -> Player:
    try:
        import distributed
    except ImportError:
        raise ValueError('A cluster needs Dask: pip install "optimizer-explorer[distributed]" brings it.') from None

    def play(units: Sequence[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        with ExitStack() as stack:
            where: Any = cluster
            if isinstance(cluster, dict):
                quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
                where = stack.enter_context(distributed.LocalCluster(**cluster, **quiet))
            try:
                client = stack.enter_context(distributed.Client(where))
            except OSError as error:
                raise ValueError(f"scheduler = {cluster!r} does not answer: {error}.") from None
            yield from _outcomes(client, units, device)

    return play


def _outcomes(client: Client, units: Sequence[Unit], device: str) -> Iterator[tuple[Unit, Outcome]]:
    """Outcomes as they come; at the end `ValueError` about units whose workers died one after the other."""
    from distributed import KilledWorker, as_completed

    given_up: list[str] = []
    # Keys make a unit that is asked for twice one task; priorities keep the order in which it was planned.
    futures = {
        client.submit(train_on_worker, unit, device, key=f"unit-{unit.key}", priority=-place): unit
        for place, unit in enumerate(units)
    }
    for future in as_completed(list(futures)):
        unit = futures.pop(future)
        try:
            outcome = future.result()
        except KilledWorker:  # as when memory runs out: the others' outcomes still count
            given_up.append(unit.title)
            continue
        yield unit, outcome
    if given_up:
        more = f", and {len(given_up) - 1} more fleets so" if given_up[1:] else ""
        raise ValueError(f"{given_up[0]}: each worker that trained it died, as when memory runs out{more}.")

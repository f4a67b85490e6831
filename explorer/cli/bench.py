"""`explorer bench`: how fast fleets train here, beside plain PyTorch, interleaved in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.cli import rivals
from explorer.cli.bench_steps import steps
from explorer.cli.failure import sentences
from explorer.cli.timing import Row, in_turns, wait
from explorer.training import Fleet, devices

JAX_EPOCHS = 20


def command(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    layers: Annotated[str, typer.Option(help="Depths: hidden layers of the preset tig.")] = "4,7,10,14,18",
    runs: Annotated[str, typer.Option(help="Runs of a fleet; by default 1,8,64,256 on CUDA and 1,8 on a CPU.")] = "",
    optimizer: Annotated[str, typer.Option(help="The fleets' optimizer; plain PyTorch and JAX take Adam.")] = "adam",
    rounds: Annotated[int, typer.Option(help="How often each contender has its turn.", min=1)] = 15,
    all_optimizers: Annotated[
        bool, typer.Option("--optimizers", help="Instead, time a step of every optimizer, at the first depth.")
    ] = False,
    cold: Annotated[bool, typer.Option(help="On CUDA: also time a first epoch in a process without any cache.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the rows here.")] = None,
) -> None:
    """Time an epoch of plain PyTorch, of JAX where it is installed, and of fleets, taking turns in one process."""
    with sentences():
        where = devices.resolve(device)
        depths = _numbers("layers", layers)
        sizes = _numbers("runs", runs or ("1,8,64,256" if where.type == "cuda" else "1,8"))
        optimizers.get(optimizer)
    if all_optimizers:
        size = _numbers("runs", runs or ("64" if where.type == "cuda" else "8"))[0]
        typer.echo(f"{devices.describe(where)}; torch {torch.__version__}; {depths[0]} layers, {size} runs")
        rows = steps(depths[0], size, where, rounds)
        _write(json_file, where, {"rows": [_told(row) for row in rows]})
        return
    typer.echo(
        f"{devices.describe(where)}; torch {torch.__version__}; {optimizer}; milliseconds an epoch, medians of {rounds}"
    )
    typer.echo(f"{'layers':>6}  {'contender':<22} {'epoch':>9} {'a run':>9} {'× plain':>8} {'first s':>8} {'GiB':>6}")
    rows = [row for depth in depths for row in _depth(depth, sizes, where, optimizer, rounds)]
    starts = [_cold(runs, where, optimizer) for runs in (1, 64)] if cold and where.type == "cuda" else []
    for start in starts:
        typer.echo(f"cold start, 4 layers, {start['runs']} runs: first epoch after {start['seconds']:.1f} s")
    _write(json_file, where, {"optimizer": optimizer, "rows": [_told(row) for row in rows], "cold": starts})


def _told(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("layers", "name", "runs", "first", "memory", "milliseconds", "a_run")}


def _write(file: Path | None, device: torch.device, found: dict[str, Any]) -> None:
    if file is not None:
        head = {"device": devices.describe(device), "torch": torch.__version__}
        file.write_text(json.dumps(head | found, indent=1), encoding="utf-8")


def _numbers(name: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ValueError(f"{name} = {text!r} is not allowed: it must be whole numbers from 1, with commas between.")
    return numbers


def _depth(depth: int, sizes: list[int], device: torch.device, optimizer: str, rounds: int) -> list[Row]:
    """All contenders at one depth, timed in turns and printed."""
    with sentences():
        # Epochs without end: a run that stopped early costs the same, but none should be cut short by a limit.
        challenge = Challenge.preset("tig", num_hidden_layers=depth, max_epochs=10000, patience=10000)
    made: list[tuple[str, int, int, Callable[[], Callable[[], object]]]] = [
        ("plain PyTorch", 1, 1, lambda: rivals.plain(challenge, device))
    ]
    if device.type == "cuda":
        made.append(("JAX, jit + scan", 1, JAX_EPOCHS, lambda: rivals.jax_scan(challenge, JAX_EPOCHS)))
    for precision in ("float32", "tf32") if device.type == "cuda" else ("float32",):
        for size in sizes:
            name = f"fleet R = {size}" + (", tf32" if precision == "tf32" else "")
            made.append((name, size, 1, lambda size=size, precision=precision: Fleet(
                challenge, optimizers.create(optimizer), range(size), str(device), precision
            ).advance))  # fmt: skip
    rows = []
    for name, size, epochs, make in made:
        try:
            rows.append(_begin(depth, name, size, epochs, make, device))
        except ImportError:
            typer.echo(f"{depth:>6}  {name:<22} not installed")
        except ValueError as error:
            typer.echo(f"{depth:>6}  {name:<22} {error}")
    in_turns(rows, device, rounds)
    for row in rows:
        memory = "" if row.memory is None else f"{row.memory / 2**30:.2f}"
        typer.echo(
            f"{depth:>6}  {row.name:<22} {row.a_run * row.runs:>9.3f} {row.a_run:>9.4f} "
            f"{rows[0].a_run / row.a_run:>8.1f} {row.first:>8.2f} {memory:>6}"
        )
    return rows


def _begin(
    depth: int, name: str, runs: int, epochs: int, make: Callable[[], Callable[[], object]], device: torch.device
) -> Row:
    wait(device)
    on_cuda = device.type == "cuda"
    held = torch.cuda.memory_allocated(device) if on_cuda else 0
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    call = make()
    call()
    wait(device)
    first = time.perf_counter() - began
    memory = torch.cuda.max_memory_allocated(device) - held if on_cuda and "JAX" not in name else None
    return Row(depth, name, runs, call, epochs, first, memory)


def _cold(runs: int, device: torch.device, optimizer: str) -> dict[str, float]:
    """Seconds from Start to the end of the first epoch where no kernel was ever compiled, in a process of its own."""
    program = (
        "import sys, time, torch, explorer as ex; from explorer.training import Fleet; "
        "challenge, began = ex.Challenge.preset('tig'), time.perf_counter(); "
        f"Fleet(challenge, ex.optimizers.create({optimizer!r}), range({runs}), {str(device)!r}).advance(); "
        "torch.cuda.synchronize(); print(time.perf_counter() - began)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"TRITON_CACHE_DIR": cache, "CUDA_CACHE_PATH": cache}
        told = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
    return {"runs": runs, "seconds": float(told.stdout)}

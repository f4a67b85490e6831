"""Optimizers that make a run do what a test wants.  They carry no `key`, so the shelf does not list them."""

from __future__ import annotations

from typing import ClassVar

import param
import torch

from explorer import Challenge
from explorer.base.declared import Log
from explorer.optimizers import Optimizer

TINY = Challenge(num_hidden_layers=1, width=4, train_size=16, val_size=12, test_size=10, batch_size=16, num_features=8)
"""One batch an epoch, and next to nothing to compute."""


class Descent(Optimizer):
    """Plain gradient descent."""

    lr = Log(1e-3, bounds=(0, 1e9), doc="Learning rate η: step length per unit of gradient.")

    def init_state(self, params, seed):
        return {}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        return [-g * self.symbols("lr", like=g)[0] for g in gradients]


class Puppet(Optimizer):
    """Silences the network, then sets its output to `script[row][epoch]`: every loss of every epoch is prescribed.

    Needs a challenge of one output and one batch an epoch.
    """

    script: ClassVar[list[list[float]]] = []
    row = param.Number(0.0, doc="Which line of the script this run follows.")

    def init_state(self, params, seed):
        return {"script": torch.tensor(self.script, dtype=params[0].dtype, device=params[0].device)}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        updates = [-tensor for tensor in params]
        last_bias = max(index for index, name in enumerate(params.names) if name.startswith("linears."))
        (row,) = self.symbols("row", like=train_loss)
        now = epoch.clamp(max=state["script"].shape[1] - 1)
        updates[last_bias] += state["script"][row.long(), now].unsqueeze(1)
        return updates


def puppet(*script: list[float]) -> Puppet:
    """One run a line, whose output after epoch e is the line's entry e (its last one stays)."""
    longest = max(map(len, script))
    padded = [[*line, *[line[-1]] * (longest - len(line))] for line in script]
    return type("Puppet", (Puppet,), {"script": padded})(row=[float(row) for row in range(len(script))])


class Fails(Descent):
    """Works for `good_steps` steps, then raises."""

    good_steps = param.Integer(3, bounds=(0, None), doc="Steps before the exception.")

    def init_state(self, params, seed):
        return {"steps": 0}

    def step(self, state, *arguments):
        state["steps"] += 1
        if state["steps"] > self.good_steps:
            raise ArithmeticError("the optimizer's own trouble")
        return super().step(state, *arguments)


class Counting(Descent):
    """Tells how many batches were trained, for tests that watch a worker from outside."""

    steps: ClassVar[int] = 0

    def step(self, *arguments):
        Counting.steps += 1
        return super().step(*arguments)


class Spy(Descent):
    """Writes down what the loop hands over, in `Spy.seen`."""

    seen: ClassVar[list[tuple]] = []

    def init_state(self, params, seed):
        Spy.seen = [("init", seed.tolist(), [tensor.clone() for tensor in params])]
        return {}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        self.write("query", params, epoch, train_loss, val_loss)

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        self.write("step", params, epoch, train_loss, val_loss)
        return super().step(state, params, gradients, epoch, train_loss, val_loss)

    def write(self, what, params, epoch, train_loss, val_loss):
        copies = [tensor.clone() for tensor in params]
        Spy.seen.append((what, epoch.item(), train_loss.clone(), val_loss.clone(), copies))


class Proposing(Descent):
    """Gradient steps, but gradients are taken at 1.25 times the weights."""

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        return [
            tensor if "running" in name else 1.25 * tensor for name, tensor in zip(params.names, params, strict=True)
        ]


class ProposingBuffer(Descent):
    """The same, handed over as one buffer."""

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        proposal = params.clone()
        for name, tensor in zip(params.names, proposal, strict=True):
            if "running" not in name:
                tensor.mul_(1.25)
        return proposal


class Greedy(Descent):
    """Asks for an update of one of everything, frozen tensors and statistics included."""

    def step(self, state, params, *arguments):
        return [torch.ones_like(tensor) for tensor in params]

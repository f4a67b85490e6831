"""What Shampoo and SOAP share: statistics of the gradients' rows and columns, and something costly made of them."""

from __future__ import annotations

from math import lcm

import param

from explorer.optimizers.base import State, counted, host_counter
from explorer.optimizers.fields import decay
from explorer.optimizers.hybrid import Hybrid


class Kronecker(Hybrid):
    """Base of optimizers that keep L ≈ E[GGᵀ] and R ≈ E[GᵀG] of every matrix, and refresh a function of them at times.

    The host decides when to refresh: an epoch is captured once for each place in it where that can be, and once for
    those without.
    """

    statistics = decay(0.95, "Decay β of the row and column statistics, per step.")
    interval = param.Integer(80, bounds=(1, 1000), doc="Steps between two refreshes of what is computed from them.")

    def init_matrices(self, stacks, seed):
        squares = {
            name: [stack.new_zeros(*stack.shape[:2], stack.shape[axis], stack.shape[axis]) for stack in stacks]
            for name, axis in (("left", 2), ("right", 3), ("left_side", 2), ("right_side", 3))
        }
        return squares | {"m": stacks, "v": [stack.clone() for stack in stacks], "taken": host_counter()}

    def stepped(self, state):
        state["taken"] += 1

    def turn(self, state):
        if self.taken(state) == 0:
            return -1  # the first step may be unlike others
        _, batches = self._batch
        return min(-self.taken(state) % self.interval, batches)

    def cycle(self):
        _, batches = self._batch
        return lcm(self.interval, batches) // batches

    def replayed(self, state, steps):
        state["taken"] += steps

    def taken(self, state: State) -> int:
        """The steps taken."""
        return counted(state["taken"])

    def due(self, state: State) -> bool:
        """Whether this step refreshes."""
        return self.taken(state) % self.interval == 0

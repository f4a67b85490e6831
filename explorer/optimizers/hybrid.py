"""What optimizers of matrices share: a rule for weight matrices, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from explorer.base.tensors import Tensors, stacked, zeros_like
from explorer.optimizers.adam import direction
from explorer.optimizers.base import Optimizer, State, counter
from explorer.optimizers.fields import decay, penalty, small


class Hybrid(Optimizer):
    """Base of the optimizers of matrices.

    A subclass writes `init_matrices` and `matrix_rule` for stacks `[R, L, out, in]` of the L weight matrices of one
    shape.  Vectors, and where `hidden_only` the first and the last layer's matrices, take AdamW's steps with the
    learning rate that `vector_rate` names.

    State: `vector_m` and `vector_v`, `[R, n]`, Adam's memory of the n elements that are in no stack; `t`, the number of
    steps taken; a subclass adds lists with a tensor for each shape.
    """

    hidden_only: ClassVar[bool] = False
    vector_rate: ClassVar[str] = "lr"

    beta1 = decay(0.9, "Adam's decay β₁ of the mean, per step.")
    beta2 = decay(0.999, "Adam's decay β₂ of the mean square, per step.")
    eps = small(1e-8, "Added to Adam's root ε, in units of the gradient.")
    weight_decay = penalty(0.0, "Decoupled decay λ: share of a weight lost per unit of η.")

    def init_state(self, params, seed):
        _, vectors = self.split(params)
        like = params[0]
        zeros = like.new_zeros(len(like), sum(params[index][0].numel() for index in vectors))
        state = {"vector_m": zeros, "vector_v": zeros.clone(), "t": counter(params)}
        return state | self.init_matrices([like.new_zeros(shape) for shape in self.shapes(params)], seed)

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        t = state["t"].add_(1)
        updates = zeros_like(params)
        stacks, vectors = self.split(params)

        for place, indices in enumerate(stacks):
            p, g = stacked(params, indices), stacked(gradients, indices)
            update = self.matrix_rule(state, place, g, t).sub_(p * self.lost(state, place, g, t))
            for layer, index in enumerate(indices):
                updates[index].copy_(update[:, layer])

        p, g = (torch.cat([tensors[index].flatten(1) for index in vectors], dim=1) for tensors in (params, gradients))
        update = self.vector_rule(state, p, g, t)
        parts = update.split([params[index][0].numel() for index in vectors], dim=1)
        for index, part in zip(vectors, parts, strict=True):
            updates[index].copy_(part.view_as(updates[index]))
        self.stepped(state)
        return updates

    def move(self, state, params, gradients, epoch, train_loss, val_loss):
        t = state["t"].add_(1)
        stacks, vectors = self.split(params)
        for place, indices in enumerate(stacks):
            p, g = stacked(params, indices), stacked(gradients, indices)
            moved = p.add_(self.matrix_rule(state, place, g, t).addcmul_(p, self.lost(state, place, g, t), value=-1))
            if moved.data_ptr() != params[indices[0]].data_ptr():  # they do not lie evenly apart
                for layer, index in enumerate(indices):
                    params[index].copy_(moved[:, layer])

        columns = params.layout.columns(vectors, params.buffer.device)
        p, g = params.buffer[:, columns], gradients.buffer[:, columns]  # on CUDA quicker than `index_select`
        params.buffer.index_copy_(1, columns, self.vector_rule(state, p, g, t).add_(p))
        self.stepped(state)

    def vector_rule(self, state: State, p: Tensor, g: Tensor, t: Tensor) -> Tensor:
        """AdamW's update of the elements `p [R, n]` that are in no stack."""
        η, λ, β1, β2, ε = self.symbols(self.vector_rate, "weight_decay", "beta1", "beta2", "eps", like=g)
        return direction(g, state["vector_m"], state["vector_v"], t, β1, β2, ε).mul_(-η).sub_(p * (η * λ))

    def init_matrices(self, stacks: list[Tensor], seed: Tensor) -> State:
        """The state of the matrices, given zeros in their shapes."""
        raise NotImplementedError

    def matrix_rule(self, state: State, place: int, g: Tensor, t: Tensor) -> Tensor:
        """The update, but for weight decay, of the stack at `place`: gradients `g [R, L, out, in]`, step `t` from 1."""
        raise NotImplementedError

    def lost(self, state: State, place: int, g: Tensor, t: Tensor) -> Tensor:
        """The share of each weight that decay takes in step `t`, to be broadcast to `g`."""
        η, λ = self.symbols("lr", "weight_decay", like=g)
        return η * λ

    def stepped(self, state: State) -> None:
        """Called at a step's end."""

    def shapes(self, params: Sequence[Tensor]) -> list[tuple[int, ...]]:
        """`(R, L, out, in)` of every stack."""
        stacks, _ = self.split(params)
        return [(len(params[0]), len(indices), *params[indices[0]].shape[1:]) for indices in stacks]

    def split(self, params: Sequence[Tensor]) -> tuple[list[list[int]], list[int]]:
        """Which tensors go into which stack, and which take Adam's steps; frozen ones into neither.

        A matrix of one row or column, as the first layer's is where there is one input, counts as a vector.
        """
        trained = params.trainable if isinstance(params, Tensors) else [True] * len(params)
        matrices = [index for index, tensor in enumerate(params) if tensor.dim() == 3]
        wanted = matrices[1:-1] if self.hidden_only else matrices
        ours = {index for index in wanted if trained[index] and min(params[index].shape[1:]) > 1}
        stacks: dict[tuple[int, ...], list[int]] = {}
        for index in sorted(ours):
            stacks.setdefault(tuple(params[index].shape[1:]), []).append(index)
        return list(stacks.values()), [index for index, on in enumerate(trained) if on and index not in ours]

"""Where the network's parts lie among the parameters, in the harness's order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from explorer.base.tensors import Tensors


def linears(params: Sequence[Tensor]) -> list[int]:
    """Places of the linear layers' weights `[R, out, in]`, from the inputs on; each bias comes next."""
    return [index for index, tensor in enumerate(params) if tensor.dim() == 3]


def norm(params: Sequence[Tensor], index: int) -> int:
    """Place of the weight γ of the batch norm behind the linear layer whose weight is at `index`."""
    return 2 * len(linears(params)) + 4 * (index // 2)


def trained_norms(params: Sequence[Tensor]) -> list[int]:
    """Places of the weights γ of the batch norms that are trained; none where nobody says what is."""
    if not isinstance(params, Tensors):
        return []
    return [place for index in linears(params)[:-1] if params.trainable[place := norm(params, index)]]


def frozen_layers(params: Sequence[Tensor]) -> list[int]:
    """Places of the frozen linear layers' weights, if they are the last ones and the batch norm before them is trained.

    Otherwise none: then there is nothing to be done, or nothing that can be.
    """
    if not isinstance(params, Tensors):
        return []
    weights = linears(params)
    frozen = [index for index in weights if not params.trainable[index]]
    reachable = 0 < len(frozen) < len(weights) and frozen == weights[-len(frozen) :]
    return frozen if reachable and params.trainable[norm(params, frozen[0] - 2) + 1] else []

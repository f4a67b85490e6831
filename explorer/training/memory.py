"""How much of a device's memory a fleet needs, known before any is taken."""

from __future__ import annotations

import psutil
import torch

from explorer.challenge.model import Network, layout
from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer
from explorer.training.graph import tensors_of

RESERVED = 1 << 30
"""Bytes left to kernels, libraries and other programs."""


def bytes_a_run(challenge: Challenge, optimizer: Optimizer, network: type[Network], dtype: torch.dtype) -> int:
    """Bytes that each run of a fleet takes at most, to first order; the optimizer's state is measured on one run."""
    slots = layout(challenge)
    state = optimizer.init_state(slots.zeros(1, "cpu", dtype), torch.zeros(1, dtype=torch.int64))
    memory = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(state))
    samples = challenge.train_size + challenge.val_size + challenge.test_size
    data = 2 * samples * (challenge.input_dims + challenge.output_dims)
    # Parameters, best parameters, gradients and a proposal or updates; parameters, best and state once more while an
    # epoch is captured.
    elements = 6 * slots.size + network.room(challenge) + data + 6 * challenge.max_epochs
    return 2 * memory + elements * torch.finfo(dtype).bits // 8


def free(device: torch.device) -> int:
    """Bytes of the device's memory that fleets may take now."""
    there = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return there - RESERVED


def check(needed_a_run: int, runs: int, device: torch.device) -> None:
    """`ValueError` with a sentence for a person if `runs` runs will not fit in what the device has free."""
    left = free(device)
    if runs * needed_a_run > left:
        fitting = max(0, left // needed_a_run)
        raise ValueError(
            f"{runs} runs are not allowed here: they need about {runs * needed_a_run / 2**30:.1f} GiB of the device's "
            f"memory, and {max(0, left) / 2**30:.1f} GiB are free; at most {fitting} would fit."
        )

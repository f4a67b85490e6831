"""What goes wrong on a device, in sentences; on a GPU, for real."""

import pytest
import torch
from puppets import TINY, Descent
from test_worker import Listener

import explorer as ex
from explorer.records import Fault, Phase
from explorer.training import memory
from explorer.training.faults import sentence
from explorer.training.plan import Plan

OUT = "The device ran out of memory"
DO = ": use fewer seeds or hyperparameter values, or fewer layers."


class Hungry(Descent):
    """Asks for a pebibyte in its third step."""

    def init_state(self, params, seed):
        return {"steps": 0}

    def step(self, state, params, *arguments):
        state["steps"] += 1
        if state["steps"] == 3:
            torch.empty(1 << 48, device=params[0].device)
        return super().step(state, params, *arguments)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which "
                "3.52 GiB is free. Of the allocated memory …"
            ),
            f"{OUT} (20.00 GiB more were needed, 3.52 GiB were free){DO}",
        ),
        (MemoryError(), OUT + DO),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with …"), "The GPU reported an "),
        (RuntimeError("other"), "Training failed: RuntimeError: other"),
        (ValueError("A sentence."), "A sentence."),
    ],
)
def test_a_fault_is_a_sentence(error, said):
    assert sentence(error).startswith(said)
    assert "\n" not in sentence(error)


def fail_and_the_next_one_runs(plans, device):
    """Each plan runs out of memory with a sentence, and after each a small one trains to its end."""
    listener = Listener()
    for plan in plans:
        generation = listener.worker.start(plan)
        listener.until(lambda g=generation: listener.of(Fault, g), timeout=60)
        (fault,) = listener.of(Fault, generation)
        assert fault.message.startswith(OUT)
        assert "more were needed" in fault.message
        following = listener.worker.start(Plan.of(TINY.replace(max_epochs=3), Descent(), (0,), device=device))
        listener.until(lambda g=following: listener.snapshots(g)[-1:], timeout=60)
        listener.until(lambda: listener.phase is Phase.FINISHED, timeout=60)
        assert listener.snapshots(following)[-1].status == ("max_epochs",)
    assert listener.worker.close()


def test_memory_that_is_not_there_fails_one_fleet_and_the_next_one_runs():
    fail_and_the_next_one_runs([Plan.of(TINY, Hungry(), (0,), device="cpu")], "cpu")


@pytest.mark.gpu
def test_a_gpu_that_runs_out_of_memory_fails_one_fleet_and_the_next_one_runs(monkeypatch):
    large = ex.Challenge(num_hidden_layers=20, width=1024, input_dims=8)
    plans = [
        Plan.of(large, ex.optimizers.create("adam"), tuple(range(1024)), device="cuda"),  # while it is built
        Plan.of(TINY, Hungry(), (0,), device="cuda"),  # in the middle of an epoch, which is not captured
    ]
    monkeypatch.setattr(Hungry, "capturable", False)
    monkeypatch.setattr(memory, "free", lambda device: 1 << 60)  # as if the estimate had been too low
    fail_and_the_next_one_runs(plans, "cuda")

"""The heap while fleets train on a CPU."""

import gc
import resource

import psutil
import pytest

import explorer as ex
from explorer.training import Fleet, heap

pytestmark = pytest.mark.skipif(not hasattr(heap._library, "malloc_trim"), reason="glibc's heap alone can be told")


def faults():
    """Pages that this process took from the system so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_training_takes_no_new_pages_and_gives_all_back():
    gc.collect()
    others = heap._at_work
    challenge = ex.Challenge.preset("tig", num_hidden_layers=12)
    fleet = Fleet(challenge, ex.optimizers.create("adam"), range(8), "cpu")
    fleet.advance()
    before = faults()
    fleet.advance()
    assert faults() - before < 20_000, "it takes 140,000 where freed memory goes back at once"
    held = psutil.Process().memory_info().rss
    del fleet
    gc.collect()
    assert heap._at_work == others
    assert psutil.Process().memory_info().rss < held - 2**26

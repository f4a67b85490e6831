"""Rules for the whole suite: GPU tests only where there is a GPU, and nothing is skipped in CI."""

import os

import pytest

from explorer.training import devices  # before anything imports torch, whose threads it tells how to wait


@pytest.fixture(autouse=True, scope="session")
def _no_ones_store(tmp_path_factory):
    """Nothing that a test trains, here or in a process of its own, gets into the store of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db")
        yield


IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def pytest_collection_modifyitems(config, items):
    """Leave GPU tests out where there is no CUDA: they are deselected, which is not a skip."""
    if "cuda" in devices.choices():
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


def _no_skip(report):
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Nothing may be skipped in CI: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _no_skip((yield))

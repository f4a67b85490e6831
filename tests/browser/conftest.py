"""The app in a real browser: a server in this process, a headless Chromium beside it."""

import pytest
from pages import serve, sources, until

from explorer.cli.browser import FLAGS, executable


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    if executable() is None:
        pytest.skip("no Chromium here: install the package chromium")
    return browser_type_launch_args | {"executable_path": executable(), "args": FLAGS.split()}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return browser_context_args | {"viewport": {"width": 1440, "height": 1000}}


@pytest.fixture(scope="session")
def app():
    """The address of the app, served as `explorer serve` does."""
    server, address = serve(unused_session_lifetime_milliseconds=2000, check_unused_sessions_milliseconds=1000)
    yield address
    server.stop()


@pytest.fixture
def visit(app, page):
    """Open the app with a query; errors on the page's console fail the test."""
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: errors.append(f"{request.url} failed"))
    page.on("pageerror", lambda error: errors.append(str(error)))

    def visit(query=""):
        page.goto(app + query)
        page.get_by_role("button", name="Start", exact=True).wait_for()
        until(lambda: page.get_by_role("status").filter(has_text="Ready").count(), 30)
        if "view=" not in query:
            until(lambda: sources(page)["log threshold"]["y"], 30)  # the first look at the instance is there
        return page

    yield visit
    assert errors == []

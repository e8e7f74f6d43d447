"""One browser, and one explorer page, for each file of tests."""

import pytest

from browser.explorer_driver import DATA, RESET, SETTLED, opened, until
from susceptometer.view.explorer import write_explorer


FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(chromium):
    """The system's Chromium, headless."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(chromium), args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def explorer_page(browser, tmp_path_factory):
    """The example page, opened once."""
    faults = []
    page = opened(browser, write_explorer(DATA, tmp_path_factory.mktemp("explorer") / "page.html"), faults)
    yield page, faults
    page.close()


@pytest.fixture
def page(explorer_page):
    """The page as it was at the start; fails afterwards if the script raised or anything was requested."""
    page, faults = explorer_page
    faults.clear()
    until(page, SETTLED)
    page.evaluate(RESET)
    yield page
    assert faults == []

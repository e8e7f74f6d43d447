"""The page in a real browser: what a reader points at, chooses and searches really happens."""

import re

import pytest

from page_example import example_page
from susceptometer.view.page import write_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A small page on disk."""
    data = example_page(rows=4, width=60, parts=16)
    return write_page(data, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def page(browser, path):
    """The page, opened; fails afterwards if the script raised or anything was requested."""
    opened = browser.new_page(viewport={"width": 1400, "height": 950})
    faults = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    opened.on(
        "request",
        lambda request: faults.append(request.url) if request.url != path.as_uri() else None,
    )
    opened.goto(path.as_uri())
    opened.wait_for_selector(".t")
    yield opened
    opened.close()
    assert faults == []


def colours(page) -> list[str]:
    """Class of the first tokens."""
    return page.eval_on_selector_all(".t", "spans => spans.slice(0, 120).map(span => span.className)")


def test_hover_shows_value_and_error(page):
    page.locator('[data-token="25"]').hover()
    text = page.locator("#card").inner_text()
    assert re.search(r"χ\s+\(?−?[\d.]+ ± [\d.]+", text)
    assert re.search(r"loss\s+[\d.]+ nats", text)
    assert re.search(r"standard errors from zero", text)
    assert page.locator("#card .profile g").count() == 16


def test_a_click_pins_the_token(page):
    page.locator('[data-token="25"]').click()
    page.locator('[data-token="40"]').hover()
    assert page.locator("#card").get_attribute("data-shown") == "25"
    page.locator('[data-token="25"]').click()
    page.locator('[data-token="40"]').hover()
    assert page.locator("#card").get_attribute("data-shown") == "40"


def test_the_selector_recolours_the_text(page):
    page.select_option("#part", "0")
    before = colours(page)
    page.select_option("#part", "11")
    after = colours(page)
    assert sum(a != b for a, b in zip(before, after, strict=True)) > 20
    assert "L1 head 3" in page.locator("#strongest").inner_text().replace("HEAD", "head")
    page.locator("#part-back").click()
    assert page.locator("#part").input_value() == "10"


def test_a_bar_chooses_the_part(page):
    page.locator('#llc-chart g.part[data-part="5"]').click()
    assert page.locator("#part").input_value() == "5"
    page.select_option("#llc-order", "value")
    values = page.eval_on_selector_all("#llc-chart .value", "labels => labels.map(label => Number(label.textContent))")
    assert values == sorted(values, reverse=True)


def test_search_finds_across_tokens(page):
    page.fill("#search", "maintainer")
    page.wait_for_selector(".t.found")
    assert page.locator("#search-count").inner_text() == "1 of 1"
    found = page.eval_on_selector_all(".t.found", "spans => spans.map(s => s.textContent).join('')")
    assert found.strip() == "maintainer"
    page.fill("#search", "no such words here")
    page.get_by_text("no match", exact=True).wait_for()
    assert page.locator(".t.found").count() == 0


def test_fading_hides_what_is_not_clear(page):
    page.select_option("#fade", "0")
    all_coloured = sum(bool(re.search(r" [np]\d", name)) for name in colours(page))
    page.select_option("#fade", "5")
    few_coloured = sum(bool(re.search(r" [np]\d", name)) for name in colours(page))
    assert few_coloured < all_coloured / 2


def test_a_cell_shows_its_tokens(page):
    cell = page.locator('#pattern-table button[data-part="11"][data-pattern="3"]')
    cell.hover()
    assert "induction" in page.locator("#pattern-note").inner_text()
    cell.click()
    assert page.locator("#pattern").input_value() == "3"
    assert page.locator(".t.dim").count() > 50


def test_the_keyboard_moves_through_tokens(page):
    page.locator('[data-token="10"]').click()
    page.keyboard.press("ArrowRight")
    assert page.locator("#card").get_attribute("data-shown") == "11"
    page.keyboard.press("Escape")
    assert "Point at a token" in page.locator("#card").inner_text()


def test_a_probe_is_shown_alone(page):
    page.select_option("#probe", "1")
    assert page.locator("#tokens h3").all_inner_texts() == ["PROSE"]


def test_light_and_dark(page):
    def background() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    before = background()
    page.locator("#theme").click()
    assert background() != before

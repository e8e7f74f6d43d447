"""The explorer over time and for the eye: slider, colours, axes, hostile text, keyboard, layout, closed network."""

import re

import numpy as np
import pytest

from browser.explorer_driver import DATA, LAST, TOKENS, alone, apart, assert_said, at, pixel, table_unit, until
from explorer_example import HOSTILE
from susceptometer.view.explorer_pack import coded_places

pytestmark = pytest.mark.browser


def test_the_slider_moves_points_and_numbers(page):
    token = alone(page, 1)[0]
    page.mouse.click(*at(page, token))
    page.locator("#frame").focus()
    page.keyboard.press("Home")
    until(page, "!gliding()")
    assert page.locator("#frame-label").inner_text() == "step 0"
    codes, _ = coded_places(next(iter(DATA.maps.values())))
    np.testing.assert_allclose(page.evaluate("Array.from(places)"), codes[0].ravel() / 65535, atol=1e-6)
    first, unit = DATA.frames[0], table_unit(page)
    for part, text in enumerate(page.locator("#token td.number").all_inner_texts()):
        assert_said(text, first.psi[part, token], first.error[part, token], unit)
    page.evaluate("window.seen = []; on('frame', () => window.seen.push($('frame-label').textContent))")
    page.locator("#play").click()
    until(page, "!playing && !gliding()")
    assert page.evaluate("window.seen") == ["step 400", "step 12,000"]
    assert page.locator("#play").get_attribute("aria-label") == "Play the checkpoints"


def test_colours_follow_the_sign_and_weak_tokens_turn_grey(page):
    free = np.array(alone(page, 60))
    z = LAST.psi[2, free] / LAST.error[2, free]
    page.select_option("#colour", "psi:2")
    blue, orange = pixel(page, free[z.argmin()]), pixel(page, free[z.argmax()])
    assert blue[2] > blue[0] + 40 and orange[0] > orange[2] + 40
    assert "expression" in page.locator("#legend").inner_text() and "nats²" in page.locator("#legend").inner_text()
    weak = free[np.abs(z) < 2]
    page.select_option("#fade", "2")
    assert all(np.ptp(pixel(page, token)) < 30 for token in weak[:5].tolist())
    assert pixel(page, free[z.argmin()]) == blue
    page.locator("#colour-next").click()
    assert page.locator("#colour").input_value() == "psi:3"


def test_two_parts_as_axes(page):
    page.select_option("#map", str(len(DATA.maps)))
    page.select_option("#axis-x", "1")
    page.select_option("#axis-y", "6")
    x, y = np.array(page.evaluate("Array.from(places)")).reshape(-1, 2).T
    for found, part in ((x, 1), (y, 6)):
        assert np.corrcoef(found, LAST.psi[part])[0, 1] > 0.9999
    assert page.locator("#axis-label").inner_text() == "across: ψ L0 head 1 · up: ψ L1 head 2"


def test_hostile_tokens_are_only_text(page):
    first = TOKENS.probe.tolist().index("prose")
    for k in range(len(HOSTILE)):
        page.evaluate(f"choose('pins', [{first + k}])")
        text = page.locator("#token h2").inner_text()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e\u200b-\u200f\u2028]", text)
    page.evaluate(f"choose('pins', [{first + 2}])")
    assert "⟨202E⟩evil⟨202C⟩" in page.locator("#token h2").inner_text()
    page.fill("#search", "<script>")
    until(page, "$('search-count').textContent === '1 token'")
    assert page.locator("#card .chips").first.inner_text().startswith("</script><script>")
    assert page.evaluate("window.stolen") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert page.title() == "pico </title> & co, token by token · susceptometer explorer"


def test_the_keyboard_goes_through_the_text(page):
    page.locator("#over").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#token").get_attribute("data-token") == "1"
    scale = page.evaluate("view.scale")
    page.keyboard.press("+")
    assert page.evaluate("view.scale") > scale
    page.keyboard.press("Escape")
    assert page.locator("#token").get_attribute("data-token") is None


def test_nothing_overlaps_in_small_and_large_windows(page):
    regions = [".top", ".bar:not(.find)", ".bar.find", "#legend", "#stage", "#time", "#token", "#card"]
    page.select_option("#colour", "psi:0")
    for width, height in ((1280, 800), (800, 900)):
        page.set_viewport_size({"width": width, "height": height})
        boxes = [page.locator(name).bounding_box() for name in regions]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for k, one in enumerate(boxes):
            assert one["width"] > 100 and one["height"] > 15
            assert all(apart(one, other) for other in boxes[k + 1 :])
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.locator("#stage").bounding_box()["height"] > 380


def test_the_network_is_closed(explorer_page):
    page, faults = explorer_page
    said = page.evaluate("fetch('https://example.org/').then(() => 'open', () => 'closed')")
    assert said == "closed"
    assert any("Content Security Policy" in fault for fault in faults)
    faults.clear()


def test_light_and_dark(page):
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    corner = page.evaluate("Array.from($('points').getContext('2d').getImageData(1, 1, 1, 1).data)")
    page.locator("#theme").click()
    until(page, "!stale && !waiting")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.evaluate("Array.from($('points').getContext('2d').getImageData(1, 1, 1, 1).data)") != corner
    page.locator("#theme").click()

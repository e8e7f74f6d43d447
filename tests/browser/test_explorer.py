"""The explorer in a real browser: hover, click, cards, lasso, search, 10^5 tokens; numbers against NumPy."""

import re
from collections import Counter

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from browser.explorer_driver import (
    DATA,
    LAST,
    TOKENS,
    alone,
    alone_far_out,
    assert_said,
    at,
    draw_lasso,
    numbers,
    opened,
    table_unit,
    until,
)
from explorer_example import many
from susceptometer.structure.patterns import PATTERNS
from susceptometer.view.explorer import write_explorer
from susceptometer.view.explorer_pack import clean, coded_places, coded_psi, decoded_psi

pytestmark = pytest.mark.browser


def test_the_page_reads_back_what_was_packed(page):
    for k, frame in enumerate(DATA.frames):
        found = page.evaluate(
            f"parts.names.map((_, part) => Array.from({{length: count}}, (_, t) => psi({k}, part, t)))"
        )
        np.testing.assert_allclose(found, decoded_psi(coded_psi(frame.psi)), rtol=1e-12)
        errors = page.evaluate(
            f"parts.names.map((_, part) => Array.from({{length: count}}, (_, t) => errorOf({k}, part, t)))"
        )
        np.testing.assert_allclose(errors, frame.error, rtol=0.012)
    assert page.evaluate("Array.from({length: count}, (_, t) => wordOf(t))") == [clean(word) for word in TOKENS.words]


def test_hover_shows_the_token_in_context_with_value_and_error(page):
    page.select_option("#colour", "psi:5")
    token = alone(page, 1)[0]
    page.mouse.move(*at(page, token))
    page.wait_for_selector(f'#tip[data-token="{token}"]')
    tip = page.locator("#tip")
    assert_said(tip.inner_text(), LAST.psi[5, token], LAST.error[5, token])
    shown = clean(TOKENS.words[token]).replace(" ", "␣").replace("\n", "↵")
    assert tip.locator(".here").inner_text() == shown
    assert f"{TOKENS.probe[token]}, row {TOKENS.row[token]}, position {TOKENS.position[token]}" in tip.inner_text()
    for k, name in enumerate(PATTERNS):
        assert (name in tip.locator("dd").nth(2).inner_text().split(", ")) == bool(TOKENS.flags[k, token])
    page.mouse.move(4, 4)
    assert tip.is_hidden()


def test_a_click_fills_the_table_of_parts(page):
    one, two = alone(page, 2)
    page.mouse.click(*at(page, one))
    cells = page.locator("#token td.number").all_inner_texts()
    unit = table_unit(page)
    assert len(cells) == len(DATA.components) and unit < 1e-2
    for part, text in enumerate(cells):
        assert_said(text, LAST.psi[part, one], LAST.error[part, one], unit)
    page.locator('#token th button[data-column="0"]').click()
    assert page.locator('#token th[aria-sort="ascending"]').count() == 1
    names = page.locator("#token tbody th").all_inner_texts()
    assert names == [f"L{k // 4} head {k % 4}" for k in np.argsort(LAST.psi[:, one])]
    page.locator('#token th button[data-column="0"]').press("Enter")
    assert page.locator("#token tbody th").all_inner_texts() == names[::-1]
    page.keyboard.down("Control")
    page.mouse.click(*at(page, two))
    page.keyboard.up("Control")
    assert page.locator("#token tbody tr").first.locator("td").count() == 2
    page.locator("#token tbody th button").first.click()
    assert page.locator("#colour").input_value() == f"psi:{np.argsort(LAST.psi[:, one])[-1]}"


def test_a_legend_name_selects_its_tokens_and_the_card_counts(page):
    page.locator('#legend button[data-class="4"]').click()
    members = np.flatnonzero(TOKENS.classes == 4)
    card = page.locator("#card")
    assert card.get_attribute("data-count") == str(len(members))
    first, times = Counter(TOKENS.words[k] for k in members).most_common(1)[0]
    chip = card.locator(".chips").first.locator("span").first.inner_text()
    assert chip == f"{first.replace(' ', '␣').replace(chr(10), '↵')} {times}"
    domains = Counter(TOKENS.probe[members].tolist())
    assert set(card.locator(".chips").nth(1).locator("span").all_inner_texts()) == {
        f"{k} {v}" for k, v in domains.items()
    }
    assert page.locator('#legend button[aria-pressed="true"]').inner_text().startswith("spacing")
    page.locator("#clear").click()
    assert card.get_attribute("data-count") is None


def test_a_click_on_a_clustered_token_shows_its_cluster(page):
    page.select_option("#colour", "cluster")
    token = next(k for k in alone(page, 40) if DATA.clusters.labels[k] == 0)
    page.mouse.click(*at(page, token))
    text = page.locator("#card").inner_text()
    assert "cluster 0: spacing" in text and "0.021" in text and "0.91 over chain halves, 0.97 over seeds" in text
    assert page.locator("#card").get_attribute("data-count") == str((DATA.clusters.labels == 0).sum())
    page.locator('#legend button[data-class="1"]').click()
    text = page.locator("#card").inner_text()
    assert "fourth <b>place</b>" in text and "not known over seeds" in text


def test_the_profile_has_errors_between_groups(page):
    page.select_option("#colour", "cluster")
    page.locator('#legend button[data-class="1"]').click()
    members = np.flatnonzero(DATA.clusters.labels == 1)
    spread = LAST.psi.std(1)
    mean = LAST.psi[:, members].mean(1) / spread
    groups = LAST.replicates[:, :, members].mean(2)
    error = groups.std(0, ddof=1) / np.sqrt(len(groups)) / spread
    rows = page.locator("#card .profile text.number").all_text_contents()
    assert "between chain groups" in page.locator("#card").inner_text()
    for k, text in enumerate(rows):
        said, said_error, digit = numbers(text)
        assert abs(said - mean[k]) <= 0.51 * digit + 1e-3
        assert said_error == pytest.approx(error[k], rel=0.04, abs=0.51 * digit)


def test_the_lasso_holds_the_tokens_in_the_polygon(page):
    box = page.locator("#over").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.move(middle[0] + 30, middle[1] - 20, steps=3)
    page.mouse.up()
    page.locator("#tool-lasso").click()
    corners = [(-90, -60), (110, -80), (20, 10), (100, 90), (-120, 70)]
    draw_lasso(page, [(middle[0] + x, middle[1] + y) for x, y in corners])
    polygon = page.evaluate("chosen.selection.polygon")
    codes, _ = coded_places(next(iter(DATA.maps.values())))
    inside = Polygon(polygon).contains_points(codes[-1].astype(np.float32) / np.float32(65535))
    assert inside.sum() > 20
    assert page.locator("#card").get_attribute("data-count") == str(inside.sum())
    assert page.evaluate("chosen.selection.members") == np.flatnonzero(inside).tolist()


def test_search_counts_tokens(page):
    page.fill("#search", "the")
    until(page, "$('search-count').textContent !== ''")
    count = sum("the" in clean(word).lower() for word in TOKENS.words)
    assert page.locator("#search-count").inner_text() == f"{count} tokens"
    assert page.locator("#card").get_attribute("data-count") == str(count)
    page.locator("#search").press("Enter")
    assert "the" in page.locator("#token h2").inner_text().lower()
    page.fill("#search", r"^\s+$")
    page.check("#search-regex")
    blank = sum(bool(re.fullmatch(r"\s+", word)) for word in TOKENS.words)
    until(page, f"$('search-count').textContent === '{blank} tokens'")
    page.fill("#search", "(")
    page.get_by_text("not a regular expression").wait_for()
    page.fill("#search", "")
    until(page, "chosen.selection === null")


def test_search_across_tokens(page):
    rows = {}
    for k, key in enumerate(zip(TOKENS.probe.tolist(), TOKENS.row.tolist(), strict=True)):
        rows.setdefault(key, []).append(k)
    words = [clean(word) for word in TOKENS.words]
    texts = {key: "".join(words[k] for k in place) for key, place in rows.items()}
    wanted = words[24][1:] + words[25] + words[26][:1]
    count = sum(text.count(wanted) for text in texts.values())
    touched = set()
    for key, place in rows.items():
        ends = np.cumsum([len(words[k]) for k in place])
        for match in re.finditer(re.escape(wanted), texts[key]):
            touched |= {
                place[j]
                for j, end in enumerate(ends)
                if end > match.start() and end - len(words[place[j]]) < match.end()
            }
    assert count and len(touched) > count
    page.check("#search-across")
    page.check("#search-case")
    page.fill("#search", wanted)
    until(page, "$('search-count').textContent !== ''")
    assert page.locator("#search-count").inner_text() == f"{count} match{'es' * (count > 1)}, {len(touched)} tokens"
    assert page.evaluate("chosen.selection.members") == sorted(touched)


def test_a_hundred_thousand_tokens_load_and_answer(browser, tmp_path):
    data, faults = many(100_000, 6), []
    path = write_explorer(data, tmp_path / "many.html")
    assert path.stat().st_size < 5e6
    page = opened(browser, path, faults)
    psi = data.frames[0].psi
    page.select_option("#colour", "psi:4")
    token = alone_far_out(page)
    page.mouse.move(*at(page, token))
    page.wait_for_selector(f'#tip[data-token="{token}"]')
    assert_said(page.locator("#tip").inner_text(), psi[4, token], 0.3)
    page.fill("#search", "w12")
    until(page, "$('search-count').textContent !== ''")
    assert page.locator("#search-count").inner_text() == f"{sum('w12' in word for word in data.tokens.words):,} tokens"
    box = page.locator("#over").bounding_box()
    page.locator("#tool-lasso").click()
    draw_lasso(page, [(box["x"] + x, box["y"] + y) for x, y in ((200, 150), (600, 150), (600, 400), (200, 400))])
    polygon = page.evaluate("chosen.selection.polygon")
    codes, _ = coded_places(data.maps["pairs 1 and 2"])
    inside = Polygon(polygon).contains_points(codes[0].astype(np.float32) / np.float32(65535))
    assert inside.sum() > 10_000 and page.locator("#card").get_attribute("data-count") == str(inside.sum())
    page.close()
    assert faults == []

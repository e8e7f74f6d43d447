"""The explorer in a real browser: hover, click, lasso, search, slider, colours; numbers against NumPy."""

import re
import time
from collections import Counter

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from explorer_example import HOSTILE, example, facts, many
from susceptometer.structure.patterns import PATTERNS
from susceptometer.view.explorer import write_explorer
from susceptometer.view.explorer_pack import clean, coded_places, coded_psi, decoded_psi

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
RESET = """() => {
  if (playing) stop();
  select(null); choose("pins", []); choose("token", -1); choose("tool", "move");
  choose("map", 0); choose("colour", "pattern"); choose("fade", 0); choose("frame", frames.length - 1);
  for (const id of ["search-case", "search-across", "search-regex"]) $(id).checked = false;
  Object.assign(sorting, { column: -1, way: 1 });
  settle(); fitView(); draw();
}"""
SETTLED = """(() => { const box = $("stage").getBoundingClientRect();
  return Math.abs(view.wide + 2 - box.width) < 1 && Math.abs(view.high + 2 - box.height) < 1; })()"""
DATA = example(facts())
TOKENS, LAST = DATA.tokens, DATA.frames[-1]


@pytest.fixture(scope="module")
def browser(chromium):
    """The system's Chromium, headless."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(chromium), args=FLAGS)
        yield running
        running.close()


def opened(browser, path, faults, **options):
    """A page that writes down what goes wrong and whatever is requested."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, **options)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda asked: faults.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#stage[data-drawn]")
    return page


def until(page, true, seconds=10.0):
    """Wait for a JavaScript expression (the page's policy forbids Playwright's own way, which needs eval)."""
    end = time.monotonic() + seconds
    while not page.evaluate(true):
        assert time.monotonic() < end, true
        page.wait_for_timeout(20)


@pytest.fixture(scope="module")
def shared(browser, tmp_path_factory):
    """The example page, opened once."""
    faults = []
    page = opened(browser, write_explorer(DATA, tmp_path_factory.mktemp("explorer") / "page.html"), faults)
    yield page, faults
    page.close()


@pytest.fixture
def page(shared):
    """The page as it was at the start; fails afterwards if the script raised or anything was requested."""
    page, faults = shared
    faults.clear()
    until(page, SETTLED)
    page.evaluate(RESET)
    yield page
    assert faults == []


def at(page, token):
    """Where a token is on the screen."""
    x, y = page.evaluate(f"screenOf({token})")
    box = page.locator("#over").bounding_box()
    return box["x"] + x, box["y"] + y


def alone(page, most=3):
    """Tokens that lie by themselves in the view, so that a pointer meets them and no other."""
    return page.evaluate("""(most) => {
      const found = [];
      for (let token = 0; token < count && found.length < most; token += 1) {
        const [x, y] = screenOf(token);
        if (x < 40 || y < 60 || x > view.wide - 60 || y > view.high - 40) continue;
        let free = true;
        for (let other = 0; other < count && free; other += 1) {
          const [ox, oy] = screenOf(other);
          if (other !== token && Math.hypot(x - ox, y - oy) < 14) free = false;
        }
        if (free) found.push(token);
      }
      return found;
    }""", most)  # fmt: skip


def numbers(text):
    """Value, error and unit of the last digit of "(−1.23 ± 0.45) × 10⁻⁵" or "1.2 ± 0.3"."""
    found = re.search(r"(−?[\d.]+) ± ([\d.]+)\)?(?: × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", text)
    power = int(found[3].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) if found[3] else 0
    unit = 10.0**power
    digit = unit * 10.0 ** -len(found[2].partition(".")[2])
    return float(found[1].replace("−", "-")) * unit, float(found[2]) * unit, digit


def assert_said(text, value, error):
    """The text says value ± error to its last digit (errors travel with 1 %)."""
    said, said_error, digit = numbers(text)
    assert abs(said - value) <= 0.51 * digit + 1e-3 * error
    assert abs(said_error - error) <= 0.51 * digit + 0.012 * error


def test_the_page_reads_back_what_was_packed(page):
    for k, frame in enumerate(DATA.frames):
        found = page.evaluate(f"parts.names.map((_, part) => Array.from({{length: count}}, (_, t) => psi({k}, part, t)))")
        np.testing.assert_allclose(found, decoded_psi(coded_psi(frame.psi)), rtol=1e-12)
        errors = page.evaluate(f"parts.names.map((_, part) => Array.from({{length: count}}, (_, t) => errorOf({k}, part, t)))")
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
    assert len(cells) == len(DATA.components)
    for part, text in enumerate(cells):
        assert_said(text, LAST.psi[part, one], LAST.error[part, one])
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
    assert set(card.locator(".chips").nth(1).locator("span").all_inner_texts()) == {f"{k} {v}" for k, v in domains.items()}
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


def draw_lasso(page, corners):
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*corner, steps=3)
    page.mouse.up()


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
            touched |= {place[j] for j, end in enumerate(ends) if end > match.start() and end - len(words[place[j]]) < match.end()}
    assert count and len(touched) > count
    page.check("#search-across")
    page.check("#search-case")
    page.fill("#search", wanted)
    until(page, "$('search-count').textContent !== ''")
    assert page.locator("#search-count").inner_text() == f"{count} matches, {len(touched)} tokens"
    assert page.evaluate("chosen.selection.members") == sorted(touched)


def test_the_slider_moves_points_and_numbers(page):
    token = alone(page, 1)[0]
    page.mouse.click(*at(page, token))
    page.locator("#frame").focus()
    page.keyboard.press("Home")
    until(page, "!gliding()")
    assert page.locator("#frame-label").inner_text() == "step 0"
    codes, _ = coded_places(next(iter(DATA.maps.values())))
    np.testing.assert_allclose(page.evaluate("Array.from(places)"), codes[0].ravel() / 65535, atol=1e-6)
    first = DATA.frames[0]
    for part, text in enumerate(page.locator("#token td.number").all_inner_texts()):
        assert_said(text, first.psi[part, token], first.error[part, token])
    page.locator("#play").click()
    until(page, "$('frame-label').textContent === 'step 400'")
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-label") == "Play the checkpoints"


def pixel(page, token):
    """Red, green and blue where a token is drawn."""
    until(page, "!stale && !waiting")
    x, y = page.evaluate(f"screenOf({token})")
    script = "([x, y]) => Array.from($('points').getContext('2d').getImageData(Math.round(x), Math.round(y), 1, 1).data)"
    return page.evaluate(script, [x, y])[:3]


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
    until(page, "$('search-count').textContent === '1 tokens'")
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


def apart(one, other):
    """Whether two boxes do not cross (by more than a pixel)."""
    return (
        one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
        or one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
    )  # fmt: skip


def test_the_network_is_closed(shared):
    page, faults = shared
    said = page.evaluate("fetch('https://example.org/').then(() => 'open', () => 'closed')")
    assert said == "closed"
    assert faults.pop() and all("example.org" in fault for fault in faults)


def test_light_and_dark(page):
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    corner = page.evaluate("Array.from($('points').getContext('2d').getImageData(1, 1, 1, 1).data)")
    page.locator("#theme").click()
    until(page, "!stale && !waiting")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.evaluate("Array.from($('points').getContext('2d').getImageData(1, 1, 1, 1).data)") != corner
    page.locator("#theme").click()


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


def alone_far_out(page):
    """The visible token with the largest distance to its nearest neighbour among the outermost."""
    return page.evaluate("""() => {
      const out = Array.from(order).filter((t) => { const [x, y] = screenOf(t); return x > 40 && y > 70 && x < view.wide - 60 && y < view.high - 40; })
        .sort((a, b) => Math.hypot(places[2 * b] - view.x, places[2 * b + 1] - view.y) - Math.hypot(places[2 * a] - view.x, places[2 * a + 1] - view.y)).slice(0, 200);
      return out.find((t) => { const [x, y] = screenOf(t); return tokenAt(x, y) === t; });
    }""")

"""How the explorer's browser tests point, wait and read: places of tokens, numbers in words, pixels."""

import re
import time

from explorer_example import example, facts

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
SMALL = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
DATA = example(facts())
TOKENS, LAST = DATA.tokens, DATA.frames[-1]


def opened(browser, path, faults, **options):
    """A page that writes down what goes wrong and whatever is requested."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, **options)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda asked: faults.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#stage[data-drawn]")
    return page


def until(page, true, seconds=30.0):
    """Wait for a JavaScript expression (the page's policy forbids Playwright's own way, which needs eval)."""
    end = time.monotonic() + seconds
    while not page.evaluate(true):
        assert time.monotonic() < end, true
        page.wait_for_timeout(20)


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
    power = int(found[3].translate(SMALL)) if found[3] else 0
    unit = 10.0**power
    digit = unit * 10.0 ** -len(found[2].partition(".")[2])
    return float(found[1].replace("−", "-")) * unit, float(found[2]) * unit, digit


def assert_said(text, value, error, unit=1.0):
    """The text says value ± error in a unit, to its last digit (errors travel with 1 %)."""
    said, said_error, digit = (unit * number for number in numbers(text))
    assert abs(said - value) <= 0.51 * digit + 1e-3 * error
    assert abs(said_error - error) <= 0.51 * digit + 0.012 * error


def table_unit(page):
    """The power of ten of the table of parts."""
    power = re.search("10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", page.locator("#token thead th").first.inner_text())
    return 10.0 ** int(power[1].translate(SMALL)) if power else 1.0


def draw_lasso(page, corners):
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*corner, steps=3)
    page.mouse.up()


def pixel(page, token):
    """Red, green and blue where a token is drawn."""
    until(page, "!stale && !waiting")
    x, y = page.evaluate(f"screenOf({token})")
    script = (
        "([x, y]) => Array.from($('points').getContext('2d').getImageData(Math.round(x), Math.round(y), 1, 1).data)"
    )
    return page.evaluate(script, [x, y])[:3]


def apart(one, other):
    """Whether two boxes do not cross (by more than a pixel)."""
    return (
        one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
        or one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
    )  # fmt: skip


def alone_far_out(page):
    """The visible token with the largest distance to its nearest neighbour among the outermost."""
    return page.evaluate("""() => {
      const out = Array.from(order).filter((t) => { const [x, y] = screenOf(t); return x > 40 && y > 70 && x < view.wide - 60 && y < view.high - 40; })
        .sort((a, b) => Math.hypot(places[2 * b] - view.x, places[2 * b + 1] - view.y) - Math.hypot(places[2 * a] - view.x, places[2 * a + 1] - view.y)).slice(0, 200);
      return out.find((t) => { const [x, y] = screenOf(t); return tokenAt(x, y) === t; });
    }""")

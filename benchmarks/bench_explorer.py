"""The explorer at 10^5 tokens and 16 parts in headless Chromium, beside the same points as a Bokeh page.

python benchmarks/bench_explorer.py [--tokens 100000]     (Bokeh is measured if it can be imported)
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from explorer_example import many

from susceptometer.view.explorer import write_explorer

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
OURS = {
    "draw (pan, zoom)": "paintPoints()",
    "hover: nearest token, tip, rings": "choose('token', tokenAt(view.wide * Math.random(), view.high * Math.random(), 30)); drawTip(); paintOver()",
    "colour by another part": "colourTokens(); paintPoints()",
    "another checkpoint or map": "settle(); paintPoints()",
    "lasso over half the map, card": "choose('selection', tokenSet('x', tokensInside(Array.from({length: 120}, (_, k) => [view.x + 0.12 * Math.cos(k / 19), view.y + 0.12 * Math.sin(k / 19)]))))",
    "search, card": "$('search').value = String(Math.floor(Math.random() * 90) + 10); search()",
}
PAN = """() => new Promise((done) => {
  const plot = Bokeh.documents[0].roots()[0]; let left = 10; const begun = performance.now();
  const turn = () => { if (!left--) { done((performance.now() - begun) / 10); return; }
    const r = plot.x_range; r.setv({start: r.start + 0.01, end: r.end + 0.01}); requestAnimationFrame(() => requestAnimationFrame(turn)); };
  turn(); })"""


def opened(browser, path, ready):
    """The page and the seconds until it shows points."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    begun = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector(ready, timeout=120_000)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page, time.perf_counter() - begun


def ours(browser, data, folder):
    path = write_explorer(data, folder / "explorer.html")
    page, seconds = opened(browser, path, "#stage[data-drawn]")
    print(f"explorer: {path.stat().st_size / 1e6:.1f} MB, points after {seconds:.2f} s")
    for what, script in OURS.items():
        took = page.evaluate(
            f"() => {{ for (let k = 0; k < 8; k += 1) {{ {script}; }} const b = performance.now(); for (let k = 0; k < 8; k += 1) {{ {script}; }} return (performance.now() - b) / 8; }}"
        )
        print(f"  {what:<36} {took:8.1f} ms")


def bokeh(browser, data, folder):
    try:
        from bokeh.embed import file_html
        from bokeh.models import ColumnDataSource, HoverTool
        from bokeh.plotting import figure
        from bokeh.resources import INLINE
        from bokeh.transform import linear_cmap
    except ImportError:
        print("Bokeh is not installed: not measured")
        return
    for backend in ("canvas", "webgl"):
        places, frame = next(iter(data.maps.values()))[-1], data.frames[-1]
        columns = {
            "x": places[:, 0],
            "y": places[:, 1],
            "token": list(data.tokens.words),
            **{f"psi{k}": row for k, row in enumerate(frame.psi)},
            **{f"error{k}": row for k, row in enumerate(frame.error)},
        }
        plot = figure(width=830, height=560, output_backend=backend, tools="pan,wheel_zoom,lasso_select")
        plot.scatter("x", "y", size=3, source=ColumnDataSource(columns), color=linear_cmap("psi0", "RdBu11", -2, 2))
        plot.add_tools(HoverTool(tooltips=[("token", "@token"), ("psi", "@psi0")]))
        path = folder / f"bokeh-{backend}.html"
        path.write_text(file_html(plot, INLINE, "tokens"), encoding="utf-8")
        page, seconds = opened(browser, path, "div.bk-Figure, .bk-Figure, [class*=bk]")
        page.wait_for_timeout(500)
        print(
            f"Bokeh ({backend}): {path.stat().st_size / 1e6:.1f} MB, root after {seconds:.2f} s, pan {page.evaluate(PAN):.0f} ms a frame"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=100_000)
    given = parser.parse_args()
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for side in (ours, bokeh):
            side(chromium, many(given.tokens, 16), Path(folder))
        chromium.close()

"""The page is one complete file, carries its data exactly, and says nothing it was not given."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from page_example import example_page, without_traces
from susceptometer.errors import DataError
from susceptometer.view import figures
from susceptometer.view.explorer import SOURCES as EXPLORER
from susceptometer.view.page import page_html, payload, write_page
from susceptometer.view.template import REPORT, SCRIPTS, STYLES, asset, payload_json

DATA = example_page(rows=2, width=40, parts=4)


def embedded(html: str) -> dict:
    """The data of a page, as its script reads it."""
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', html, re.DOTALL)
    return json.loads(found.group(1))


def unpacked(packed: dict) -> np.ndarray:
    """A packed array."""
    flat = np.frombuffer(base64.b64decode(packed["bytes"]), dtype="<" + packed["kind"])
    return flat.reshape(packed["shape"])


def test_the_file_is_complete_and_offline(tmp_path):
    path = write_page(DATA, tmp_path / "deep" / "report.html")
    html = path.read_text(encoding="utf-8")
    assert "{{" not in html.replace(json.dumps(DATA.title), "")
    outside = re.findall(r"(?:src|href)\s*=\s*[\"'](?!#)|@import|url\(|fetch\(|XMLHttp|import\(", html)
    assert outside == []
    assert set(re.findall(r"https?://[^\"' )<]+", html.split('id="payload"')[0])) == set()
    assert "default-src 'none'" in html


def test_arrays_survive_the_journey():
    found = embedded(page_html(DATA))
    np.testing.assert_array_equal(unpacked(found["chi"]), DATA.chi.astype(np.float32))
    np.testing.assert_array_equal(unpacked(found["chiError"]), DATA.chi_error.astype(np.float32))
    np.testing.assert_array_equal(unpacked(found["patterns"]["flags"]), DATA.patterns.flags)
    probes = np.array(found["tokens"]["probes"])[unpacked(found["tokens"]["probe"])]
    assert tuple(probes) == DATA.tokens.probe
    assert tuple(found["tokens"]["text"]) == DATA.tokens.text


def test_hostile_tokens_stay_text():
    hostile = ("</script><script>alert(1)</script>", "<!--", "\u2028", "{{script}}", "&amp;")
    text = hostile + DATA.tokens.text[len(hostile) :]
    data = replace(DATA, tokens=replace(DATA.tokens, text=text), title="<b>&</b>")
    html = page_html(data)
    assert html.count("</script>") == 2
    assert "<title>&lt;b&gt;&amp;&lt;/b&gt;" in html
    assert embedded(html)["tokens"]["text"][: len(hostile)] == list(hostile)


def test_psi_has_mean_zero_over_tokens():
    np.testing.assert_allclose(np.nanmean(DATA.psi, axis=1), 0, atol=1e-18)


def test_optional_parts_may_be_missing():
    found = embedded(page_html(without_traces(DATA)))
    assert found["traces"] is None
    assert found["command"] == ""


@pytest.mark.parametrize("name", ["llc", "chi", "chi_error"])
def test_wrong_shapes_are_refused(name):
    with pytest.raises(DataError, match=f"PageData.{name} "):
        replace(DATA, **{name: getattr(DATA, name)[:-1]})


def test_every_source_is_used():
    assert all(asset(name) for name in (*SCRIPTS, *STYLES))
    folder = figures_folder() / "assets"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {name for one in (REPORT, EXPLORER) for name in (one.template, *one.styles, *one.scripts)}


def figures_folder():
    from pathlib import Path

    return Path(figures.__file__).parent


def test_unknown_values_are_an_error_not_a_guess():
    with pytest.raises(TypeError, match="no JSON form"):
        payload_json({"x": object()})


def test_payload_is_small():
    size = len(payload_json(payload(DATA)))
    numbers = DATA.chi.size + DATA.chi_error.size
    assert size < 6 * numbers + 40 * len(DATA.tokens) + 21_000


def test_figures_draw(tmp_path):
    names = DATA.components
    drawn = [
        figures.llc_bars(names, DATA.llc, DATA.llc_error),
        figures.chi_map(names, DATA.patterns.names, DATA.patterns.psi, DATA.patterns.error),
        figures.loss_traces(names, DATA.traces),
    ]
    for place, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{place}.png", dpi=60)
        assert (tmp_path / f"{place}.png").stat().st_size > 3_000
    with pytest.raises(DataError, match="chi_map"):
        figures.chi_map(names[:-1], DATA.patterns.names, DATA.patterns.psi, DATA.patterns.error)

"""``susceptometer plan`` on a run of a tiny model: targets in words, limits, weights as a file, errors."""

import json
from dataclasses import replace

import numpy as np
import pytest

from susceptometer import cli
from susceptometer.compute.opened import reading_at
from susceptometer.compute.read import read
from susceptometer.patterning.local_check import local_check
from susceptometer.patterning.surface import surface, token_features
from susceptometer.patterning.words import plan_in_words
from susceptometer.train.weighted_data import load_weights
from susceptometer.view.plan_page import plan_page, write_plan_page
from toy_subject import HEADS, recipe, rows, tiny

HEAD = "blocks.0.attn.head.0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    subject = tiny()
    read(subject, HEADS, recipe=recipe(16, draws=40), seed=1, into=path)
    return path


def said(capsys, *words, code=0):
    assert cli.main(["plan", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_weights_are_written_and_the_response_is_told(capsys, run, tmp_path):
    path = tmp_path / "weights.parquet"
    out = said(capsys, run, "--target", f"{HEAD}=-0.0001", "--out", path)
    assert out["predicted"][0]["observable"] == HEAD and out["predicted"][0]["target"] == -0.0001
    assert set(out["predicted"][0]) >= {"value", "error", "in_sample", "target"}
    weights = load_weights(path)
    assert weights.values.shape == (6, 8) and weights.values.mean() == pytest.approx(1)
    double = said(capsys, run, "--target", f"{HEAD}=-0.0001", "--strength", 2)
    assert double["predicted"][0]["target"] == -0.0002


def test_llc_targets_carry_n_beta_and_pairs_have_numbers(capsys, run):
    by_llc = said(capsys, run, "--target", f"llc:{HEAD}=-0.001")["predicted"][0]
    assert by_llc["target"] == pytest.approx(-0.001 / 10)
    pair = said(capsys, run, "--target", "pair:1=0.0001")["predicted"]
    assert np.linalg.norm([row["target"] for row in pair]) == pytest.approx(1e-4)


def test_limits_and_kinds_of_data(capsys, run, tmp_path):
    path = tmp_path / "rows.npy"
    said(capsys, run, "--target", "pair:1=0.0001", "--per", "row", "--bounds", 0.9, 1.2, "--out", path)
    weights = load_weights(path).values
    assert weights.shape == (6,) and weights.min() > 0.899 and weights.max() < 1.201
    said(capsys, run, "--target", "pair:1=0.0001", "--per", "probe", "--budget", 0.2, "--out", tmp_path / "p.parquet")
    assert load_weights(tmp_path / "p.parquet").about["names"] == "base other"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "nowhere=1"], "no such observable"), (["--target", "0:0"], "does not read"),
        (["--target", "pair:9=1"], "no such principal pair"), (["--target", "pair:1=1", f"{HEAD}=1"], "are mixed"),
        (["--target", f"{HEAD}=1", "--out", "w.csv"], "unknown kind of weight file"),
        (["--target", f"{HEAD}=1", "--per", "row"], "stands out of its error"),
    ],
)  # fmt: skip
def test_errors_are_in_words(capsys, run, words, message):
    assert cli.main(["plan", str(run), *words]) == 1
    assert message in capsys.readouterr().err


def test_the_plan_is_shown(capsys, run):
    assert cli.main(["plan", str(run), "--target", f"{HEAD}=-0.0001"]) == 0
    shown = capsys.readouterr().out
    assert "directions inverted" in shown and "along the target" in shown


def test_the_page_holds_the_plan_and_escapes_text(run, tmp_path):
    observed = pytest.importorskip("pandas").DataFrame({"arm": ["up"]})
    reading = reading_at(run)
    made = plan_in_words(reading, [f"{HEAD}=-0.0001"])
    strings = ["<b>", "&", *"cdefghijk"]
    check = local_check(made, replace(tiny(), data=rows("base")), recipe(4), seed=2)
    table = surface(made, token_features(made, strings))
    text = plan_page(made, strings=strings, check=check, features=table, observed=observed)
    for heading in ("What is asked", "Which data", "the surface", "is predicted", "Local check", "was observed"):
        assert heading in text
    assert "&lt;b&gt;" in text and ">&amp;<" in text and "<b>" not in text and "https:" not in text
    assert text.count('class="row"') == 4 and "measured/predicted" in text
    path = tmp_path / "page.html"
    write_plan_page(path, plan_page(made))
    assert "What was observed" not in path.read_text() and "Which data" in path.read_text()

"""The frame of every reproduction: claims, kept cells, the registry and the command."""

import json
import sys
import types

import numpy as np
import pytest
from matplotlib.figure import Figure

from susceptometer import cli
from susceptometer.errors import DataError, RunError
from susceptometer.reproduce import registry
from susceptometer.reproduce.claims import Claim, ClaimTable
from susceptometer.reproduce.setting import Setting

MADE = []


def measure(setting):
    mean = setting.kept("deep/mean", lambda: MADE.append(1) or {"value": np.arange(3.0) + setting.seed})["value"].mean()
    return [Claim("the mean is one", "1 (derived)", f"{mean:.3f} ± 0.000", "agrees" if mean == 1 else "differs", "0")]


def drawn(setting):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(setting.kept("deep/mean", lambda: pytest.fail("drawn from kept cells"))["value"])
    return {"three <numbers>": figure}


@pytest.fixture
def planted(monkeypatch):
    """A claim set `planted-set` that the registry finds."""
    MADE.clear()
    found = registry.Reproduction(
        "planted-set", "Means of three numbers.", ["lau2023"], measure, {"smoke": "nothing"}, figures=drawn
    )
    module = types.ModuleType("planted_set")
    module.REPRODUCTION = found
    monkeypatch.setitem(sys.modules, "susceptometer.reproduce.planted_set", module)
    monkeypatch.setattr(registry, "names", lambda: ["planted-set"])


def test_the_command_prints_claims_and_writes_the_table(planted, tmp_path, capsys):
    out = tmp_path / "table.md"
    words = ["reproduce", "planted-set", "--into", str(tmp_path / "cells"), "--out", str(out), "--json"]
    assert cli.main(words) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["claims"][0]["verdict"] == "agrees"
    assert "susceptometer reproduce planted-set --scale smoke --seed 0" in table["provenance"]["command"]
    assert "| the mean is one | 1 (derived) | 1.000 ± 0.000 | 0 | agrees |" in out.read_text()


def test_the_page_holds_claims_and_figures_and_loads_nothing(planted, tmp_path, capsys):
    page = tmp_path / "deep" / "page.html"
    assert cli.main(["reproduce", "planted-set", "--into", str(tmp_path / "cells"), "--page", str(page)]) == 0
    text = page.read_text()
    assert "the mean is one" in text
    assert "three &lt;numbers&gt;" in text
    assert "data:image/svg+xml" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert 'src="http' not in text


def test_a_second_run_goes_on_from_kept_cells(planted, tmp_path):
    first, second = (registry.reproduce("planted-set", Setting("smoke", 0, tmp_path, say=str)) for _ in range(2))
    assert len(MADE) == 1
    assert first.claims == second.claims


def test_a_broken_cell_is_made_again(planted, tmp_path):
    setting = Setting("smoke", 0, tmp_path, say=str)
    registry.reproduce("planted-set", setting)
    path = tmp_path / "deep" / "mean.npz"
    path.write_bytes(path.read_bytes()[:40])
    assert registry.reproduce("planted-set", setting).claims[0].verdict == "agrees"
    assert len(MADE) == 2


def test_an_interrupted_cell_leaves_nothing(tmp_path):
    def fail():
        raise KeyboardInterrupt

    setting = Setting("smoke", 0, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        setting.kept("x", fail)
    assert not (tmp_path / "x.npz").exists()
    assert setting.kept("x", lambda: {"a": np.ones(2)})["a"].sum() == 2


@pytest.mark.parametrize("other", [{"seed": 1}, {"text": "prose.txt"}])
def test_a_folder_of_another_setting_is_refused(planted, tmp_path, other):
    registry.reproduce("planted-set", Setting("smoke", 0, tmp_path, say=str))
    fields = {"scale": "smoke", "seed": 0, "folder": tmp_path, "say": str, **other}
    with pytest.raises(RunError, match="another setting"):
        registry.reproduce("planted-set", Setting(**fields))


def test_unknown_names_scales_and_verdicts_are_refused(planted, tmp_path):
    with pytest.raises(DataError, match="did you mean planted-set"):
        registry.find("planted-sett")
    with pytest.raises(DataError, match="not offered"):
        registry.reproduce("planted-set", Setting("gpu", 0, tmp_path))
    with pytest.raises(DataError, match="unknown scale"):
        Setting("huge", 0, tmp_path)
    with pytest.raises(DataError, match="verdict"):
        Claim("a", "b", "c", "probably")
    with pytest.raises(DataError, match="published figure"):
        Claim("a", "", "c", "open")


def test_bars_in_a_claim_do_not_break_the_table():
    table = ClaimTable("x", "smoke", [Claim("|a|", "1", "2", "open")], {})
    assert r"| \|a\| | 1 | 2 | - | open |" in table.markdown()
    assert table.counts() == {"agrees": 0, "partly": 0, "differs": 0, "open": 1}


def test_every_claim_set_says_what_each_scale_costs():
    for name in registry.names():
        found = registry.find(name)
        assert found.name == name
        assert {"smoke", "cpu"} <= set(found.cost)
        assert all(found.cost.values())

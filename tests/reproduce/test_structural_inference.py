"""The smoke scale of structural inference runs, says both forms of every claim, and goes on from kept cells."""

import pytest

from susceptometer.reproduce.registry import reproduce
from susceptometer.reproduce.setting import Setting
from susceptometer.reproduce.structural_inference import readings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("structural")


def setting(folder):
    return Setting("smoke", 0, folder, say=lambda _: None)


def test_smoke_says_every_claim_in_both_forms(folder):
    table = reproduce("structural-inference", setting(folder))
    texts = [row.text for row in table.claims]
    within = {text.removeprefix("within-run") for text in texts if text.startswith("within-run")}
    assert within == {text.removeprefix("two-run") for text in texts if text.startswith("two-run")}
    assert len(texts) == 2 * len(within) >= 30
    assert "data hash" in " ".join(table.provenance.values())
    assert all("±" in row.ours for row in table.claims if "explained variance" in row.text)
    again = reproduce("structural-inference", setting(folder))
    assert again.claims == table.claims


def test_the_rank_one_term_makes_the_published_first_pair(folder):
    """Expected from conventions 6.3: the share of the first pair is far larger in the two-run form."""
    first = readings(setting(folder))[0]
    share = {
        form: float(first.spectrum(form, "columns", seed=0).data["share"][0]) for form in ("within-run", "two-run")
    }
    assert share["two-run"] > 0.9
    assert share["within-run"] < 0.7

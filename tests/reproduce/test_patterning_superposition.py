"""The superposition demonstration at smoke scale: planned data decide, the null does not, the picture is there."""

import matplotlib.image
import pytest

from susceptometer.reproduce.registry import reproduce
from susceptometer.reproduce.setting import Setting


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, reproduce("patterning-superposition", Setting("smoke", 0, folder, say=lambda _: None))


def test_claims(table):
    verdicts = {row.text: row.verdict for row in table[1].claims}
    assert verdicts["Runs end in regular polygons with known losses"] == "agrees"
    assert "differs" not in verdicts.values()


def test_kept_cells_are_not_made_again(table):
    folder, first = table
    again = reproduce("patterning-superposition", Setting("smoke", 0, folder, say=lambda _: None))
    assert [row.ours for row in again.claims] == [row.ours for row in first.claims]


def test_figure(table):
    picture = matplotlib.image.imread(table[0] / "superposition.png")
    assert picture.shape[0] > 500 and picture.shape[1] > 900 and picture[..., :3].std() > 0.05

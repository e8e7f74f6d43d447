"""The forecast counts what the reading does: operations against torch's counter, bytes against the folder."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from domains.hf_family import model, tokens
from susceptometer.compute.cells import Order, missing_work
from susceptometer.compute.forecast import _between, forecast, unit_costs
from susceptometer.compute.opened import reading_at
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.pieces import Cost, UnitCost, flop_counter
from susceptometer.compute.read import cost, extend, read
from susceptometer.compute.store import open_run, stored_cells
from susceptometer.domains.hf import language_subject
from susceptometer.domains.transformer import shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.run import Keep
from toy_subject import CONFIG, recipe, rows, tiny


def staged():
    one = tiny()
    parts = transformer_components(shapes(CONFIG))
    return replace(one, stages=TransformerStages(one.params, CONFIG), components=parts)


def fresh():
    """A language model whose stages have checked nothing yet."""
    return language_subject(model("gpt_neox"), tokens(), {"base": tokens()[:2]})


LONG = replace(recipe(4, draws=12), batch_rows=2)
CASES = {
    "plain": (tiny, ["0:0", "0:1"], LONG, Keep()),
    "staged, centred": (staged, ["0:0", "0:1", "unembed"], replace(LONG, centered=True), Keep()),
    "full batch, no arms": (staged, ["0:0"], replace(LONG, batch_rows=None, coupling=antithetic()), Keep()),
    "all weights, kept weights": (staged, ["full"], LONG, Keep(weights=True)),
    "Hugging Face": (fresh, ["0:0", "1:1", "1:mlp"], LONG, Keep()),
}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("susceptometer.compute.forecast.PROBE_SECONDS", 0.2)
        yield


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A case's forecast, its reading's folder, and the operations counted while it was read."""
    make, parts, how, keep = CASES[request.param]
    options, path = ReadOptions(progress=False, block=4, keep=keep), tmp_path_factory.mktemp("run")
    expected, again = cost(make(), parts, recipe=how, seed=2, options=options), make()
    with flop_counter() as counter:
        read(again, parts, recipe=how, seed=2, into=path, options=options)
    return expected, path, counter.get_total_flops()


def test_operations(case):
    expected, _, counted = case
    assert expected.flop == pytest.approx(counted, rel=0.02)


def test_bytes_on_disk(case):
    expected, path, _ = case
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert expected.bytes == pytest.approx(size, rel=0.25)  # of runs so small that their own cards count


def test_bytes_in_memory_and_sizes_of_cells_are_exact(case):
    expected, path, _ = case
    reading = reading_at(path)
    cell = reading.cell(next(iter(reading.cells)))
    kept = cell["kept_weights"].nbytes if "kept_weights" in cell else 0
    small = sum(cell[name].nbytes for name in ("status", "failed_step", "group"))
    assert expected.memory == cell.nbytes - kept - small
    assert expected.weight_bytes == kept


def test_a_part_of_a_large_work_is_scaled_to_the_whole(tmp_path, monkeypatch):
    """Tried on one group and a few rows, the operations of four groups and many rows come out."""
    monkeypatch.setattr("susceptometer.compute.pieces.PIECE_SECONDS", 1e-9)
    subject = replace(staged(), probes={**staged().probes, "more": rows("more", 90)}, data=rows("data", 40))
    options = ReadOptions(progress=False, block=4)
    expected = cost(subject, ["0:0", "0:1"], recipe=LONG, seed=2, options=options)
    with flop_counter() as counter:
        read(subject, ["0:0", "0:1"], recipe=LONG, seed=2, into=tmp_path, options=options)
    assert expected.flop == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_new_text_at_stored_weights_is_priced_without_steps(tmp_path):
    options = ReadOptions(progress=False, block=4, keep=Keep(weights=True))
    read(staged(), ["0:0"], recipe=LONG, seed=2, into=tmp_path, options=options)
    new = {"new": rows("new", 30)}
    subject = replace(staged(), probes={**staged().probes, **new})
    card = open_run(tmp_path)
    card = replace(card, probes={**card.probes, "new": "text"})
    order = Order(tmp_path, card, subject, {name: subject.components[name] for name in card.wanted})
    works = missing_work(card, stored_cells(tmp_path, card)[0])
    assert [work.probes for work in works] == [("base", "new")]
    expected = forecast(order, works, unit_costs(order, works))
    with flop_counter() as counter:
        extend(tmp_path, staged(), probes=new, options=options)
    assert expected.flop == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_layers_between_are_interpolated_and_other_sizes_take_the_nearest():
    parts = {f"blocks.{layer}.attn.head.0": 4 for layer in range(5)} | {"embed": 100, "blocks.2.mlp": 60}
    order = SimpleNamespace(components={name: range(size) for name, size in parts.items()})
    zero, files = Cost(), {"": ((), 0, 0)}
    tried = {
        name: UnitCost(zero, zero, zero, Cost(1.0, flop), zero, zero, files)
        for name, flop in (("blocks.0.attn.head.0", 50.0), ("blocks.4.attn.head.0", 10.0), ("embed", 7.0))
    }
    ends = ("blocks.0.attn.head.0", "blocks.4.attn.head.0")
    assert [_between(order, f"blocks.{n}.attn.head.0", ends, tried).step.flop for n in range(5)] == [50, 40, 30, 20, 10]
    assert _between(order, "blocks.2.mlp", ("blocks.2.mlp",) * 2, tried).step.flop == 7.0

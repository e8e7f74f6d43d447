"""The training loop: resuming, weights, several models at once, the optimiser, files that are whole
or not there.
"""

import json
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from susceptometer.errors import DataError, RunError
from susceptometer.train.adamw import AdamW, adamw_step, zero_moments
from susceptometer.train.checkpoint import export_half, load_full, read_tensors, write_tensors
from susceptometer.train.loop import Training, stack, stacked, train, unstack
from susceptometer.train.weights import mean_one, weighted_mean

SETTINGS = Training(
    steps=12, learning_rate=0.05, warm_up=3, cool_down=4, save_every=5, keep=(0, 6),
    measure_at=(0, 6), optimizer=AdamW(weight_decay=0.1, clip=0.5),
)  # fmt: skip


def squares(params, batch):
    """Squared error of a small nonlinear regression: ``[rows, 2]``."""
    return (torch.tanh(batch["x"] @ params["inner"]) @ params["outer"] - batch["y"]) ** 2


def start(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "inner": torch.randn(3, 5, generator=generator),
        "outer": torch.randn(5, 2, generator=generator),
    }


def batch_of(seed, step):
    generator = torch.Generator().manual_seed(1000 * seed + step)
    x = torch.randn(8, 3, generator=generator)
    return {"x": x, "y": torch.stack([x.sum(1), x[:, 0] ** 2], dim=1)}


def source_of(*seeds):
    return lambda step: stack([batch_of(seed, step) for seed in seeds])


def measured(step, params):
    return {"size": params["inner"].norm().item()}


def run(into, source, settings=SETTINGS, seeds=(1,)):
    models = stack([start(seed) for seed in seeds])
    return train(stacked(squares), models, source, settings=settings, into=into, measure=measured)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


@pytest.mark.parametrize("stop", [3, 5, 7, 11])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, stop):
    def stopping(step):
        if step == stop:
            raise KeyboardInterrupt
        return source_of(1)(step)

    whole = run(tmp_path / "whole", source_of(1))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stopping)
    assert same(run(tmp_path / "cut", source_of(1)), whole)
    for name in ("state", "step00000006", "step00000012"):
        files = [read_tensors(tmp_path / f / f"{name}.safetensors") for f in ("whole", "cut")]
        assert same(files[0][0], files[1][0])
    logs = [(tmp_path / f / "log.jsonl").read_text() for f in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [0, 6, 12]


def test_kill_9_then_resume_gives_the_same_bits(tmp_path):
    folder = str(Path(__file__).parent)
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {folder!r})
        from pathlib import Path
        import test_train as t

        def killing(step):
            if step == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return t.source_of(1)(step)

        t.run(Path({str(tmp_path / "cut")!r}), killing)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_tensors(tmp_path / "cut" / "state.safetensors")[1]["step"] == "5"
    assert same(run(tmp_path / "cut", source_of(1)), run(tmp_path / "whole", source_of(1)))


def test_a_finished_run_is_not_trained_again(tmp_path):
    def never(step):
        raise AssertionError(step)

    done = run(tmp_path, source_of(1))
    assert same(run(tmp_path, never), done)


def test_a_run_of_other_settings_is_refused(tmp_path):
    run(tmp_path, source_of(1))
    with pytest.raises(RunError, match="other settings"):
        run(tmp_path, source_of(1), replace(SETTINGS, learning_rate=0.01))


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path):
    flat = replace(SETTINGS, cool_down=0)
    run(tmp_path / "grown", source_of(1), flat)
    longer = replace(flat, steps=20)
    grown = run(tmp_path / "grown", source_of(1), longer)
    assert same(grown, run(tmp_path / "at once", source_of(1), longer))


def test_models_trained_together_equal_models_trained_alone(tmp_path):
    together = unstack(run(tmp_path / "both", source_of(1, 2), seeds=(1, 2)))
    for own, seed in zip(together, (1, 2), strict=True):
        alone = unstack(run(tmp_path / f"alone{seed}", source_of(seed), seeds=(seed,)))[0]
        assert not torch.equal(own["inner"], start(seed)["inner"])
        for name in own:
            torch.testing.assert_close(own[name], alone[name], rtol=1e-5, atol=1e-6)


def test_a_weight_of_two_is_a_row_given_twice():
    losses = torch.tensor([[1.0, 5.0, 2.0]])
    found = weighted_mean(losses, torch.tensor([[2.0, 0.0, 1.0]]))
    assert found.tolist() == pytest.approx([4 / 3])
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert weighted_mean(tokens, torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])).item() == 13 / 4
    assert weighted_mean(tokens, torch.tensor([[1.0, 3.0]])).item() == (3 + 21) / 4
    assert weighted_mean(tokens).item() == 2.5


def test_a_row_of_weight_zero_teaches_nothing(tmp_path):
    def spoiled(step):
        batch = batch_of(1, step)
        weights = torch.ones(8)
        weights[3] = 0
        return stack([{**batch, "y": spoil(batch["y"]), "weights": weights}])

    def spoil(y):
        return torch.cat([y[:3], 1e3 * torch.ones(1, 2), y[4:]])

    def clean(step):
        return stack([{**batch_of(1, step), "weights": torch.tensor([1.0] * 3 + [0] + [1.0] * 4)}])

    plain = run(tmp_path / "plain", source_of(1))
    weighted = run(tmp_path / "clean", clean)
    assert same(run(tmp_path / "spoiled", spoiled), weighted)
    assert not same(weighted, plain)


def test_weights_that_do_not_fit_are_named():
    with pytest.raises(DataError, match=r"do not fit.*weights \(1, 3\), losses \(1, 2, 4\)"):
        weighted_mean(torch.zeros(1, 2, 4), torch.ones(1, 3))
    with pytest.raises(DataError, match="mean one"):
        mean_one(torch.tensor([1.0, float("nan")]))
    assert mean_one(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]


def test_the_optimiser_is_torchs_adamw():
    settings = AdamW(weight_decay=0.3, scale_memory=0.95, clip=0.7)
    ours = {name: w.requires_grad_() for name, w in stack([start(1), start(2)]).items()}
    theirs = [{n: w.requires_grad_() for n, w in start(seed).items()} for seed in (1, 2)]
    optimizers = [torch.optim.AdamW(m.values(), lr=0.02, betas=(0.9, 0.95), weight_decay=0.3) for m in theirs]
    moments = zero_moments(ours)
    for step in range(1, 30):
        ours = {name: w.detach().requires_grad_() for name, w in ours.items()}
        stacked(squares)(ours, source_of(1, 2)(step)).flatten(1).mean(1).sum().backward()
        adamw_step(settings, ours, moments, step=step, learning_rate=0.02)
        for seed, own, optimizer in zip((1, 2), theirs, optimizers, strict=True):
            optimizer.zero_grad()
            squares(own, batch_of(seed, step)).mean().backward()
            torch.nn.utils.clip_grad_norm_(own.values(), 0.7)
            optimizer.step()
    for own, wanted in zip(unstack(ours), theirs, strict=True):
        for name in own:
            torch.testing.assert_close(own[name], wanted[name].detach(), rtol=1e-4, atol=1e-5)


def test_the_learning_rate_rises_stays_and_falls():
    rates = [SETTINGS.learning_rate_at(step) / 0.05 for step in range(12)]
    wanted = [1 / 3, 2 / 3, *[1] * 7, 0.75, 0.5, 0.25]
    assert rates == pytest.approx(wanted)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    def broken(step):
        batch = source_of(1)(step)
        return batch | {"y": batch["y"] * (float("nan") if step == 6 else 1)}

    with pytest.raises(RunError, match=r"not finite in step 6.*resumes"):
        run(tmp_path, broken)
    assert read_tensors(tmp_path / "state.safetensors")[1]["step"] == "5"


def test_a_truncated_state_is_named(tmp_path):
    run(tmp_path, source_of(1))
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"cannot be read.*state\.safetensors"):
        run(tmp_path, source_of(1))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"w": torch.ones(3)}, {"step": "1"})

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("susceptometer.train.checkpoint.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_tensors(path, {"w": torch.zeros(3)}, {"step": "2"})
    assert read_tensors(path)[0]["w"].tolist() == [1, 1, 1]


def test_half_precision_files_come_back_as_float32(tmp_path):
    weights = start(4)
    export_half(tmp_path / "w.safetensors", weights, {})
    found = load_full(tmp_path / "w.safetensors")
    for name, w in weights.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], w, rtol=2**-11, atol=1e-7)


def test_training_leaves_the_global_random_state(tmp_path):
    state = torch.get_rng_state()
    run(tmp_path, source_of(1))
    assert torch.equal(state, torch.get_rng_state())

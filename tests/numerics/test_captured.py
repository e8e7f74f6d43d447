"""The way of a GPU, tested without one: steps recorded as a graph of tensor operations and replayed.

`make_fx` records what a CUDA graph records: operations on fixed tensors, no Python in between. A step that needs a value
on the host cannot be recorded, and what a step forgets to write into fixed tensors comes out wrong.
"""

from dataclasses import replace

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from transformers import masking_utils

from domains.hf_family import subject as family
from susceptometer.domains.transformer import shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.errors import SubjectError
from susceptometer.posterior import kernel
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.moved import moved
from susceptometer.sampling import captured
from susceptometer.sampling.captured import Captured, advancing, noise_for, record_on_cuda, recordable
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.noise import GroupBatches, GroupNoise
from susceptometer.sampling.recipe import SAMPLERS
from susceptometer.sampling.run import Keep, note_draw, note_separation, open_book, run_cell
from toy_subject import CONFIG, recipe, tiny


def staged():
    one = tiny()
    parts = transformer_components(shapes(CONFIG))
    return replace(one, stages=TransformerStages(one.params, CONFIG), components=parts)


RECORDED = []
HOST = ("nonzero", "_local_scalar_dense", "masked_select", "equal", "_unique2", "unique_dim")
"""Operations whose result, or its shape, the host has to wait for: a CUDA graph cannot hold them."""


def traced(body):
    """The tensor operations of ``body``, to be replayed; refuses those that wait for the host."""
    graph = make_fx(lambda: body())()  # noqa: PLW0108 - a bound method counts its self
    names = {
        str(node.target).split(".")[1]
        for node in graph.graph.nodes
        if node.op == "call_function" and "." in str(node.target)
    }
    if names & set(HOST):
        raise RuntimeError(f"the host waits for {sorted(names & set(HOST))}")
    RECORDED.append(len(names))
    return graph


def record_by_tracing(body, changed):
    """A graph of tensor operations in place of a CUDA graph."""
    before = [value.clone() for value in changed]
    body()
    for value, old in zip(changed, before, strict=True):
        value.copy_(old)
    graph = traced(body)
    for value, old in zip(changed, before, strict=True):
        value.copy_(old)
    return graph


@pytest.fixture
def like_a_gpu(monkeypatch):
    """Counting noise, the GPU's way of the loss kernel, and recording (by tracing)."""
    RECORDED.clear()
    monkeypatch.setattr(captured, "counts_on", lambda center: True)
    monkeypatch.setattr(kernel, "on_gpu", lambda hidden: True)
    monkeypatch.setattr(captured, "recorder_for", lambda center: record_by_tracing)
    monkeypatch.setattr(masking_utils, "is_tracing", lambda value=None: True)  # as transformers does in a CUDA graph
    return monkeypatch


def cell(subject, part, how):
    posterior = LocalPosterior(subject, subject.components[part], how.n_beta, how.gamma)
    return run_cell(posterior, how, seed=3, groups=range(2), keep=Keep(weights=True))


CASES = {
    "coupled": (staged, "0:0", recipe(2)),
    "all weights": (staged, "unembed", recipe(2)),
    "centred": (staged, "0:1", replace(recipe(2), centered=True)),
    "full batch": (staged, "0:0", replace(recipe(2), batch_rows=None, coupling=antithetic())),
    "plain path": (tiny, "0:0", recipe(2)),
    "Hugging Face": (lambda: family("gpt_neox"), "0:1", recipe(2)),
    "Hugging Face, last layer": (lambda: family("gemma2"), "1:mlp", recipe(2)),
    **{kind: (staged, "0:0", replace(recipe(2), sampler=SAMPLERS[kind](step_size=1e-3)))
       for kind in ("LeimkuhlerMatthews", "SGHMC", "SGNHT")},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_chain_is_the_chain(like_a_gpu, case):
    make, part, how = CASES[case]
    subject = make()
    recorded = cell(subject, part, how)
    assert RECORDED
    like_a_gpu.setattr(captured, "recorder_for", lambda center: None)
    assert recorded.equals(cell(subject, part, how))


def test_a_step_that_asks_for_a_value_cannot_be_recorded(like_a_gpu):
    """The CPU's way of the kernel looks for overflows and so needs the host."""
    like_a_gpu.setattr(kernel, "on_gpu", lambda hidden: False)
    with pytest.raises(RuntimeError, match="host waits for.*nonzero"):
        cell(staged(), "0:0", recipe(2))


def test_a_step_that_keeps_its_own_tensors_is_caught(like_a_gpu):
    """Planted fault: the mini-batch of the first step stays in the graph."""
    subject = staged()
    like_a_gpu.setattr(torch.Tensor, "copy_", _forgetful(torch.Tensor.copy_))
    recorded = cell(subject, "0:0", recipe(2))
    like_a_gpu.undo()
    like_a_gpu.setattr(captured, "counts_on", lambda center: True)
    like_a_gpu.setattr(kernel, "on_gpu", lambda hidden: True)
    assert not recorded.equals(cell(subject, "0:0", recipe(2)))


def _forgetful(plain):
    return lambda held, fresh, non_blocking=False: held if non_blocking else plain(held, fresh)


@pytest.mark.parametrize(("kind", "settings"), [("RMSpropSGLD", {"freeze_after": 2}), ("MALA", {})])
def test_samplers_with_more_than_tensors_are_not_recorded(kind, settings):
    subject = staged()
    posterior = LocalPosterior(subject, subject.components["0:0"], 10.0, 50.0)
    sampler = SAMPLERS[kind](step_size=1e-3, **settings)
    noise = GroupNoise(0, ("x",), [0], antithetic(), posterior.center)
    state = sampler.init(posterior.center.expand(2, -1), noise)
    how = replace(recipe(2), sampler=sampler, coupling=antithetic(), batch_rows=None)
    assert not recordable(how, state)


def test_on_a_cpu_nothing_is_recorded_and_noise_is_drawn_in_order():
    subject = staged()
    posterior = LocalPosterior(subject, subject.components["0:0"], 10.0, 50.0)
    noise = noise_for(0, ("x",), [0], coupling=antithetic(), center=posterior.center)
    assert type(noise) is GroupNoise
    batches = GroupBatches(posterior, recipe(2), seed=0, groups=[0])
    assert not isinstance(advancing(posterior, recipe(2), batches, noise=noise, chains=4), Captured)


def test_a_draw_asks_for_no_value(like_a_gpu):
    """Recording a draw works on tensors alone too: only the health of chains, every 16 steps, is looked at."""
    subject, how = staged(), recipe(2)
    posterior = LocalPosterior(subject, subject.components["0:0"], how.n_beta, how.gamma)
    book = open_book(posterior, how, 2)
    position, book.block = posterior.center.expand(8, -1) + 0.01, 1
    traced(lambda: (note_separation(book, position, 0), note_draw(book, posterior, position, 0, Keep())))
    assert torch.isfinite(book.moments.loss[..., 0]).all()


def test_moving_a_subject_keeps_shared_weights_shared():
    one = family("gpt2")
    memo = {}
    loss, stages = moved(one.loss, "cpu", memo), moved(one.stages, "cpu", memo)
    assert loss.model is stages.model and loss.model is not one.loss.model
    held = {value.data_ptr() for value in loss.model.parameters()}
    assert {moved(value, "cpu", memo).data_ptr() for value in one.params.values()} == held
    assert torch.equal(loss(one.params, one.data), one.center_loss(one.data))
    part = one.components["0:0"]
    there, here = (
        s.losses(part, part.gather(one.params)[None], s.prefix(part, one.data), None) for s in (stages, one.stages)
    )
    assert torch.equal(there, here)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_missing_device_is_one_clear_error():
    with pytest.raises(SubjectError, match="no CUDA device in subject.*cuda.*use the device 'cpu'"):
        family("gpt2").on("cuda")


def test_a_subject_that_is_there_already_is_not_moved():
    assert family("gpt2").on("cpu") is family("gpt2")


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_on_cuda_a_recorded_chain_is_the_plain_chain_and_the_cpus(monkeypatch, case):
    make, part, how = CASES[case]
    here = make()
    there = here.on("cuda")
    recorded = cell(there, part, how)
    monkeypatch.setattr(captured, "recorder_for", lambda center: None)
    assert recorded.equals(cell(there, part, how))
    monkeypatch.setattr(captured, "counts_on", lambda center: True)
    cpu = cell(here, part, how)
    for name in ("loss", "distance2", "sum_l", "pair"):
        scale = max(float(abs(cpu[name]).max()), 1e-12)
        assert float(abs(recorded[name] - cpu[name]).max()) < 1e-3 * scale


@pytest.mark.gpu
def test_a_cuda_graph_leaves_what_it_changes_as_before():
    value = torch.zeros(3, device="cuda")
    replay = record_on_cuda(lambda: value.add_(1), [value])
    assert value.tolist() == [0, 0, 0]
    replay()
    assert value.tolist() == [1, 1, 1]

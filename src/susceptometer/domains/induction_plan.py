"""The plan for pico-mini's induction circuit: chi of all heads at the finished model, its induction pair, the check."""

from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from susceptometer.domains.induction import TokenReader
from susceptometer.domains.pico import load_weights, making_of, tokenizer_of
from susceptometer.domains.transformer import loss, shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.patterning.plan import Plan, plan
from susceptometer.patterning.response import Response
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.recipe import SAMPLERS, Recipe, Schedule

Array = NDArray[np.float64]

MODEL, EARLY_STEP = "pico-mini", 4000
N_BETA, GAMMA, STEP_SIZE = 30.0, 300.0, 2e-3


def subject_on(ids: NDArray[np.int64]) -> Subject:
    """The finished pico-mini (seed 0) whose data and base probe are these rows ``[rows, K]``."""
    config, params = making_of(MODEL).config, load_weights(MODEL)
    rows = {"tokens": torch.from_numpy(ids)}
    return Subject(
        name=f"{MODEL} on rows with repeats", params=params, loss=partial(loss, config=config), data=rows,
        probes={"base": rows}, components=transformer_components(shapes(config)),
        stages=TransformerStages(params, config),
    )  # fmt: skip


def recipe(groups: int, draws: int, batch_rows: int) -> Recipe:
    """Coupled chains with nearly fresh draws."""
    return Recipe(
        sampler=SAMPLERS["LeimkuhlerMatthews"](step_size=STEP_SIZE),
        schedule=Schedule(groups=groups, burn_in=10, draws=draws, thin=4),
        n_beta=N_BETA, gamma=GAMMA, coupling=coupled(0.1), batch_rows=batch_rows,
    )  # fmt: skip


def reader() -> TokenReader:
    """Features from the stored stages of the same training run: before onset, and the end."""
    tokenizer = tokenizer_of(MODEL)
    strings = [tokenizer.decode([i], skip_special_tokens=False) for i in range(tokenizer.get_vocab_size())]
    return TokenReader(strings, load_weights(MODEL, step=EARLY_STEP), load_weights(MODEL), making_of(MODEL).config)


def response_of(arrays: dict[str, np.ndarray], heads: list[str]) -> Response:
    """The response matrix kept in a cell: ``replicates`` and ``ids``."""
    ids = arrays["ids"]
    rows, events = ids.shape[0], ids.shape[1] - 1
    data = xr.Dataset(
        coords={
            "row": ("datum", np.repeat(np.arange(rows), events)),
            "position": ("datum", np.tile(np.arange(events), rows)),
            "token_id": ("datum", ids[:, 1:].reshape(-1)),
        }
    )
    count = rows * events
    return Response(arrays["replicates"], tuple(heads), N_BETA, np.full(count, 1 / count), data)


def induction_pair(found: Response, flag: NDArray[np.bool_]) -> tuple[int, Array]:
    """Number (0 is the strongest) and head pattern of the principal pair whose token side has most to do with a flag.

    The sign is that of a plan for MORE of the flagged tokens: dh of the target is positive on them. The pair is chosen
    by the size of the correlation, on column-centred raw chi.
    """
    left, _, right = np.linalg.svd(found.chi, full_matrices=False)
    link = np.array([np.corrcoef(side, flag)[0, 1] for side in right])
    pair = int(np.abs(link).argmax())
    return pair, left[:, pair] * np.sign(link[pair])


def plan_for_pair(found: Response, pattern: Array, deviation: float = 1.0) -> Plan:
    """The plan along a head pattern, with the target sized so that unclipped weights have this deviation."""
    target = dict(zip(found.observables, pattern, strict=True))
    sized = plan(found, target)
    spread = float((sized.shift * len(sized.shift)).std())
    return plan(found, {name: value * deviation / spread for name, value in target.items()}, how=sized.how)


def head_roles(prefix: Any, previous: Any) -> dict[str, str]:
    """Names of the best prefix-matching head behind layer 0 and the best previous-token head of layer 0."""
    best = prefix.clone()
    best[0] = -1
    layer, head = divmod(int(best.argmax()), best.shape[1])
    return {
        "induction": f"blocks.{layer}.attn.head.{head}",
        "previous token": f"blocks.0.attn.head.{int(previous[0].argmax())}",
    }

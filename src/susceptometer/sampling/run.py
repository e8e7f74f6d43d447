"""The one loop: chains of one component, some groups at a time; the atomic unit of work and storage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.base import SlopeFn
from susceptometer.sampling.captured import advancing, noise_for, slope_on
from susceptometer.sampling.moments import Moments, ProbeReader
from susceptometer.sampling.noise import GroupBatches
from susceptometer.sampling.recipe import Recipe

OK, NON_FINITE, ESCAPED = 0, 1, 2
"""Status of a group: healthy; a weight or loss is not finite; far outside the pull's reach."""

HEALTH_EVERY = 16
"""Steps between looks at the chains' health; a failure is dated to the look that found it."""

ESCAPE_FACTOR = 100.0
"""A chain has escaped when |w - w*|^2 exceeds this times d/gamma."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What a cell stores beyond moments.

    Args:
        weights: Positions of every draw ``[group, member, draw, weight]`` (for new text later).
        tokens: Token losses of every draw ``[group, member, draw, token]`` (for influence).
    """

    weights: bool = False
    tokens: bool = False


@dataclass
class Book:
    """What a running cell records; ``waiting`` draws (first number, positions) are not yet recorded."""

    moments: Moments
    distance2: Tensor
    separation: Tensor
    status: np.ndarray
    failed_step: np.ndarray
    sum_v: Tensor
    counted: Tensor
    block: int = 1
    waiting: list[tuple[int, Tensor]] = field(default_factory=list)
    kept: dict[str, list[Tensor]] = field(default_factory=dict)


def run_cell(
    posterior: LocalPosterior,
    recipe: Recipe,
    *,
    seed: int,
    groups: Sequence[int],
    keep: Keep | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Sample some groups of one component's posterior and return their moments.

    The numbers of a group depend on (seed, component, recipe, group) only, never on which other groups run
    beside it, up to the rounding of batched products.

    Args:
        posterior: What is sampled.
        recipe: How.
        seed: Names all random streams.
        groups: Absolute group numbers, e.g. ``range(8)``.
        keep: What to store beyond moments.
        progress: Told (steps done, steps in all).

    Returns:
        Dataset with dims ``group member draw half token``; see docs/interfaces.md.
    """
    keep = keep or Keep()
    chains = len(groups) * recipe.coupling.members
    center, names = posterior.center, (posterior.component.name,)
    noise = noise_for(seed, names, groups, coupling=recipe.coupling, center=center)
    batches = GroupBatches(posterior, recipe, seed=seed, groups=groups)
    book = open_book(posterior, recipe, len(groups))
    advance = advancing(posterior, recipe, batches, noise=noise, chains=chains)
    schedule, full_tilt = recipe.schedule, recipe.coupling.tilt(recipe.n_beta)
    for step in range(schedule.steps):
        tilt = full_tilt if step >= recipe.sampler.warm_up else 0.0
        state = advance(tilt)
        if recipe.coupling.responds:
            note_separation(book, state.position, step)
        looked = step % HEALTH_EVERY == HEALTH_EVERY - 1 or step == schedule.steps - 1
        if looked:
            note_health(book, state.position - center, step, recipe)
        taken = step + 1 - schedule.burn_in
        if taken > 0 and taken % schedule.thin == 0:
            note_draw(book, posterior, state.position, taken // schedule.thin - 1, keep)
        if progress is not None:
            progress(step + 1, schedule.steps)
        if looked and (book.status != OK).all():
            break
    record(book, posterior, keep)
    return cell_dataset(book, recipe, groups)


def slope_fn(posterior: LocalPosterior, batches: GroupBatches, tilt: float) -> SlopeFn:
    """The slope of U on this step's mini-batch; the batch is drawn once, however often it is asked."""
    return slope_on(posterior, *batches.next(tilt))


def open_book(posterior: LocalPosterior, recipe: Recipe, groups: int) -> Book:
    """Empty records for a cell."""
    coupling, schedule = recipe.coupling, recipe.schedule
    chains = groups * coupling.members
    tilt = coupling.tilt(recipe.n_beta)
    moments = Moments(ProbeReader(posterior, chains), coupling, groups=groups, draws=schedule.draws, tilt=tilt)
    pairs, device = coupling.signs if coupling.responds else 0, posterior.center.device
    return Book(
        moments=moments,
        distance2=torch.full((chains, schedule.draws), torch.nan, dtype=torch.float64, device=device),
        separation=torch.full((groups, pairs, schedule.steps), torch.nan, device=device),
        status=np.full(groups, OK, dtype=np.int8),
        failed_step=np.full(groups, -1, dtype=np.int64),
        sum_v=torch.zeros_like(posterior.center, dtype=torch.float64),
        counted=torch.zeros(2, dtype=torch.float64, device=device),
        block=moments.reader.block,
    )


def note_separation(book: Book, position: Tensor, step: int) -> None:
    """Record the distance between the two arms of every pair after a step."""
    arms = position.unflatten(0, (*book.separation.shape[:2], 2))
    book.separation[:, :, step] = (arms[:, :, 0] - arms[:, :, 1]).norm(dim=-1)


def note_health(book: Book, displacement: Tensor, step: int, recipe: Recipe) -> None:
    """Record which groups have become non-finite or left the reach of the pull by this step."""
    groups = len(book.status)
    size = displacement.square().sum(-1).reshape(groups, -1).amax(-1)
    finite = torch.isfinite(size).cpu().numpy()
    reach = ESCAPE_FACTOR * displacement.shape[-1] / recipe.gamma if recipe.gamma else torch.inf
    far = (size > reach).cpu().numpy()
    code = np.where(finite, np.where(far, ESCAPED, OK), NON_FINITE)
    fresh = (book.status == OK) & (code != OK)
    book.status[fresh], book.failed_step[fresh] = code[fresh], step


def note_draw(book: Book, posterior: LocalPosterior, position: Tensor, draw: int, keep: Keep) -> None:
    """Take one draw of all chains ``[chains, d]``; it is recorded when its block is full."""
    book.waiting.append((draw, position))
    if len(book.waiting) == book.block:
        record(book, posterior, keep)


def record(book: Book, posterior: LocalPosterior, keep: Keep) -> None:
    """Record the waiting draws of all chains: everything of a draw at the same w."""
    if not book.waiting:
        return
    first, position = book.waiting[0][0], torch.stack([place for _, place in book.waiting])
    book.waiting.clear()
    book.moments.update(position, first)
    displacement = (position - posterior.center).double()
    size = displacement.square().sum(-1)
    book.distance2[:, first : first + len(size)] = size.T
    well = torch.as_tensor(book.status == OK).to(size.device)
    well = well.repeat_interleave(size.shape[1] // len(well)) & torch.isfinite(size)
    book.sum_v += displacement.where(well[..., None], 0.0).sum((0, 1))
    book.counted += torch.stack([size.where(well, 0.0).sum(), well.sum().to(size)])
    if keep.weights:
        book.kept.setdefault("weights", []).extend(position.float().cpu())
    if keep.tokens:
        losses = torch.cat(list(book.moments.reader.read(position.flatten(0, 1))), 1)
        rise = (losses - book.moments.center).float().cpu()
        book.kept.setdefault("tokens", []).extend(rise.unflatten(0, size.shape))


def cell_dataset(book: Book, recipe: Recipe, groups: Sequence[int]) -> xr.Dataset:
    """The records as named arrays."""
    shape = (len(groups), recipe.coupling.members)
    moments = book.moments
    lost = ~torch.isfinite(moments.loss).flatten(1).all(1).cpu().numpy()
    book.status[lost & (book.status == OK)] = NON_FINITE
    data = {
        "loss": (("group", "member", "draw"), moments.loss.cpu().numpy()),
        "distance2": (("group", "member", "draw"), book.distance2.cpu().reshape(*shape, -1).numpy()),
        "sum_l": (("group", "token"), moments.sum_l.cpu().numpy()),
        "sum_gl": (("group", "token"), moments.sum_gl.cpu().numpy()),
        "pair": (("group", "half", "token"), moments.pair.cpu().numpy()),
        "separation": (("group", "sign", "step"), book.separation.cpu().numpy()),
        "status": (("group",), book.status),
        "failed_step": (("group",), book.failed_step),
        "center_loss": (("token",), moments.center.cpu().numpy()),
    }
    extra = {"weights": "weight", "tokens": "token"}
    for name, values in book.kept.items():
        stacked = torch.stack(values, 1).reshape(*shape, len(values), -1)
        data[f"kept_{name}"] = (("group", "member", "draw", extra[name]), stacked.numpy())
    out = xr.Dataset(data, coords={"group": list(groups)})
    out.attrs["base_tokens"] = moments.base_tokens
    out.attrs["radius"] = posterior_radius(book)
    return out


def posterior_radius(book: Book) -> float:
    """sqrt(E |w - E w|^2) over the draws of healthy chains: the scale that saturation is compared with."""
    size, count = book.counted.tolist()
    mean2 = float((book.sum_v / max(count, 1)).square().sum())
    return float(max(0.0, size / max(count, 1) - mean2) ** 0.5)

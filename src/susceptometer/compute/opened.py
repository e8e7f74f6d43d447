"""Open a run folder as a reading; interrupted and damaged runs are refused in one message."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from susceptometer.compute.cells import Work, missing_work
from susceptometer.compute.joined import StoredCells, read_tokens
from susceptometer.compute.store import RunCard, open_run, stored_cells
from susceptometer.errors import RunError
from susceptometer.sampling.reading import Reading


def reading_at(path: str | Path, *, partial: bool = False) -> Reading:
    """Open a run folder; components load when asked for.

    Args:
        path: The run folder.
        partial: Accept an interrupted run and read what is finished.

    Raises:
        RunError: There is no run, it is of another schema, cells are damaged, or it was interrupted.
    """
    path = Path(path)
    card = open_run(path)
    found, damaged = stored_cells(path, card)
    if damaged and not partial:
        raise _damaged(path, damaged)
    missing = missing_work(card, found)
    if missing and (not partial or len({w.component for w in missing if not w.earlier}) == len(card.wanted)):
        raise _interrupted(path, card, missing)
    cells = StoredCells(card, tuple(found))
    least = min((int(part["groups"]) for part in card.wanted.values()), default=1)
    provenance = {**card.provenance, "seed": card.seed, **card.identity, "schema_version": card.schema_version}
    recipe = card.own_recipe.with_schedule(groups=least)
    return Reading(card.subject, recipe, cells, read_tokens(path, card), provenance)


def _damaged(path: Path, damaged: Iterable[RunError]) -> RunError:
    listed = [f"{Path(error.where).name[:8]}: {error.value}" for error in damaged]
    return RunError(
        f"{len(listed)} stored cells are truncated or altered",
        where=str(path),
        value="; ".join(listed[:5]),
        why="their numbers cannot be trusted",
        do="give the same `susceptometer read` again: damaged cells are sampled anew, with the same numbers",
    )


def _interrupted(path: Path, card: RunCard, missing: Sequence[Work]) -> RunError:
    names = list(dict.fromkeys(work.component for work in missing))
    command = card.provenance.get("command") or "the same `susceptometer read`"
    return RunError(
        "the run was interrupted",
        where=str(path),
        value=f"{len(missing)} cells of {len(names)} components are missing: {', '.join(names[:4])}",
        why="estimates would silently leave them out",
        do=f"finish it with {command}, or pass partial=True to look at what is there",
    )

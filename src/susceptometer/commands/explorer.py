"""The command explore: from a run, or from a model and text, to the page in which one looks around."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from susceptometer.commands.development import step_of
from susceptometer.commands.given import Given, sayer
from susceptometer.commands.reading import read
from susceptometer.errors import DataError, RunError

RUN_CARD, MODEL_CARD = "run.json", "config.json"


def explore(given: Given) -> dict:
    """The explorer page of a run; a MODEL is read on --data first: one command from a model and text to the page."""
    from susceptometer.view.explorer import write_explorer
    from susceptometer.view.explorer_maps import principal_maps
    from susceptometer.view.explorer_reading import explorer_data
    from susceptometer.view.explorer_table import write_tokens_parquet

    say = sayer(given)
    if given.dry_run:
        return {"forecast": [_read(target, given) for target in (given.target, *given.runs) if not _is_run(target)]}
    runs = [_run_of(target, given) for target in (given.target, *given.runs)]
    readings = _ordered(runs, given)
    clusters, note = _clusters(list(readings.values())[-1], given)
    data = explorer_data(readings, form=given.form, clusters=clusters)
    data = replace(data, maps=principal_maps(data.frames), notes=(*data.notes, *note))
    data = replace(data, maps={**data.maps, **_umap(data, given)})
    page = write_explorer(data, given.out or runs[0] / "explorer.html")
    if given.parquet:
        say(f"tokens: {write_tokens_parquet(data, given.parquet)}")
    for words in data.notes:
        say(f"note: {words}")
    say(f"page: {page}")
    found = 0 if data.clusters is None else len(data.clusters.names)
    return {
        "page": str(page), "runs": [str(run) for run in runs], "tokens": len(data.tokens), "clusters": found,
        "frames": list(readings), "parquet": given.parquet, "notes": list(data.notes),
    }  # fmt: skip


def _run_of(target: str, given: Given) -> Path:
    """The run folder that is meant: itself, or that of a model, which is read now (or was read before)."""
    if _is_run(target):
        return Path(target)
    return Path(_read(target, given)["run"])


def _is_run(target: str) -> bool:
    return (Path(target) / RUN_CARD).exists()


def _read(target: str, given: Given) -> dict:
    """Read a model into a folder of its name; what was read before is not repeated."""
    place = Path(target)
    if place.is_dir() and not (place / MODEL_CARD).exists():
        raise RunError(
            "this folder is neither a run nor a model",
            where=target,
            value=f"no {RUN_CARD}, no {MODEL_CARD}",
            do="give a folder made by `susceptometer read`, or a Hugging Face model with its config.json",
        )
    asked = {**vars(given), "command": "read", "model": target, "into": str(Path(given.into) / place.name)}
    return read(Namespace(**asked, extend=None))


def _ordered(runs: list[Path], given: Given) -> dict[str, Any]:
    """Readings by label in order of training."""
    from susceptometer.compute.opened import reading_at

    if len(runs) == 1:
        return {"the reading": reading_at(runs[0])}
    steps = given.steps or [step_of(run) for run in runs]
    if len(steps) != len(runs) or len(set(steps)) != len(runs):
        raise DataError(
            "the training steps do not name the runs",
            where="explore",
            value=steps,
            do="give --steps, one different number per run, that of the first run first",
        )
    return {f"step {step:,}": reading_at(run) for step, run in sorted(zip(steps, runs, strict=True))}


def _clusters(reading: Any, given: Given) -> tuple[Any, tuple[str, ...]]:
    """Clusters of a reading's tokens, and what must be said about them."""
    from susceptometer.structure.cluster import ClusterSettings
    from susceptometer.structure.cluster import cluster as clustered
    from susceptometer.view.explorer_reading import cluster_facts, stored_clusters, usable_response

    if given.clusters == "none":
        return None, ()
    if given.clusters != "make":
        return stored_clusters(given.clusters, reading.tokens), ()
    chi = usable_response(reading, given.form)
    sayer(given)(f"clustering {reading.tokens.sizes['token']:,} tokens")
    try:
        found = clustered(chi, ClusterSettings(k=given.neighbours), seed=given.seed)
        names = [card.label for card in found.cards(contexts=1)]
    except DataError as error:
        return None, (f"No clusters: {error}",)
    if not found.count:
        return None, (f"No clusters: no set of tokens reaches the null's conductance of {found.phi_max:.3f}.",)
    return cluster_facts(found, names), ()


def _umap(data: Any, given: Given) -> dict[str, Any]:
    """The UMAP map, if it is asked for."""
    from susceptometer.structure.embed import MapSetting
    from susceptometer.view.explorer_maps import umap_map

    if not given.umap:
        return {}
    sayer(given)(f"UMAP of {len(data.tokens):,} tokens at {len(data.frames)} checkpoints")
    return dict(umap_map(data.frames, MapSetting(neighbours=given.neighbours), seed=given.seed))

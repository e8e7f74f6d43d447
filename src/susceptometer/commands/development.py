"""The command over training: develop."""

import re
from argparse import Namespace
from pathlib import Path

from susceptometer.commands.given import Given, sayer, write_table
from susceptometer.commands.reading import read
from susceptometer.errors import DataError, RunError


def develop(given: Given) -> dict:
    """Learning coefficients over training, from runs of several checkpoints or from the checkpoint folders."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.develop.coefficients import development
    from susceptometer.view.course_figure import courses_page

    runs = [_run_of(Path(place), given) for place in given.runs]
    steps = given.steps or [step_of(run) for run in runs]
    if len(set(steps)) != len(runs):
        raise DataError(
            "the training steps do not name the runs",
            where="develop",
            value=steps,
            do="give --steps, one different number per run",
        )
    found = development({s: reading_at(r) for s, r in zip(steps, runs, strict=True)}, seed=given.seed)
    sayer(given)(repr(found))
    if given.out:
        write_table(found.table(), Path(given.out))
    if given.page:
        courses_page(found, Path(given.page))
        sayer(given)(f"page: {given.page}")
    rows = found.table().to_dict("records")
    return {"development": rows, "runs": [str(run) for run in runs], "steps": steps, "out": given.out}


def _run_of(place: Path, given: Given) -> Path:
    """The run of a place: itself, or a new one of the checkpoint that lies there."""
    if not (place / "config.json").exists():
        return place
    if not given.into:
        raise RunError(
            "a checkpoint folder is named, but no place for its run", where=str(place), do="give --into FOLDER"
        )
    into = Path(given.into) / place.name
    one = Namespace(**{**vars(given), "command": "read", "model": str(place), "into": str(into), "step": -1})
    read(one)
    return into


def step_of(run: Path) -> int:
    """Training step of a run: of its bundled model, or the last number in the names of model and folder."""
    from susceptometer.compute.store import open_run

    source = open_run(run).source or {}
    if int(source.get("step", -1)) >= 0:
        return int(source["step"])
    for text in (str(source.get("model", "")), run.name):
        numbers = re.findall(r"\d+", text.rsplit("/", 1)[-1].rpartition("@")[2] or text)
        if numbers:
            return int(numbers[-1])
    raise DataError("the training step of a run cannot be told", where=str(run), do="give --steps, one number per run")

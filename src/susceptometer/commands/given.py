"""What commands share: where lines go, the model that is meant, options, tables."""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from susceptometer.errors import DataError, RunError

Given = argparse.Namespace


def sayer(given: Given) -> Callable[[str], None]:
    """Where lines go: standard output, or standard error where that is kept for JSON."""
    return lambda text: print(text, file=sys.stderr if given.json else sys.stdout, flush=True)


def named_subject(given: Given) -> Any:
    """The model that is named on the command line."""
    from susceptometer.domains.language import load, usual_plan

    precision, rows = getattr(given, "precision", "float32"), getattr(given, "rows", None)
    plan = replace(usual_plan(given.model), base_rows=rows, probe_rows=rows) if rows else None
    subject = load(given.model, step=given.step, data=given.data, plan=plan, precision=precision)
    return subject.on(getattr(given, "device", "cpu"))


def subject_of(run: str) -> Any:
    """The model that a run was made with."""
    from susceptometer.domains.language import load_source

    return load_source(source_of(run))


def source_of(run: str) -> Any:
    """How the model of a run is loaded.

    Raises:
        RunError: The run does not say.
    """
    from susceptometer.compute.store import open_run
    from susceptometer.domains.language import source_from_dict

    source = open_run(Path(run)).source
    if not source:
        raise RunError(
            "the run does not say how its model is loaded",
            where=str(run),
            value="no source",
            why="new chains and new text need the model",
            do="use susceptometer.extend with the subject in Python",
        )
    return source_from_dict(source)


def new_text(run: str, data: str | None) -> Any:
    """Probes of new text for the model of a run; None without text."""
    from susceptometer.domains.language import text_probes

    return text_probes(source_of(run), data) if data else None


def options_of(given: Given) -> Any:
    """How the command runs: progress, goal, what is kept, engine."""
    from susceptometer.compute.asked import asked_engine
    from susceptometer.compute.options import ReadOptions
    from susceptometer.compute.schedule import Goal
    from susceptometer.sampling.run import Keep

    command = shlex.join(["susceptometer", *sys.argv[1:]])
    options = ReadOptions(progress=not given.json, announce=sayer(given), command=command)
    if given.command != "read":
        return options
    aimed = given.target_se is not None or given.budget is not None
    goal = Goal(target_se=given.target_se, budget=given.budget, of=given.of) if aimed else None
    keep = Keep(weights=given.keep_weights)
    return replace(options, goal=goal, full=given.full, keep=keep, engine=asked_engine(given, sayer(given)))


def read_summary(given: Given, reading: Any, run: str) -> dict:
    """Say and return what a run holds."""
    groups = {name: reading.cell(name).sizes["group"] for name in reading.cells}
    sayer(given)(f"run: {run} ({len(groups)} components, {reading.tokens.sizes['token']:,} tokens)")
    return {"run": str(run), "groups": groups, "tokens": reading.tokens.sizes["token"]}


def write_table(table: Any, path: Path) -> None:
    """Write a data frame as ``.csv`` or ``.parquet``.

    Raises:
        DataError: Another suffix.
    """
    writers = {".csv": table.to_csv, ".parquet": table.to_parquet}
    if path.suffix not in writers:
        raise DataError("unknown kind of table", where="--out", value=path.name, do=f"use {list(writers)}")
    writers[path.suffix](path, index=False)

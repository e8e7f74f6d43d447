"""Commands that make runs: quickstart, components, calibrate, read, doctor."""

import json
from dataclasses import asdict
from pathlib import Path

from susceptometer.commands.given import (
    Given,
    named_subject,
    new_text,
    options_of,
    read_summary,
    sayer,
    subject_of,
)
from susceptometer.errors import DataError, RunError
from susceptometer.view.arguments import MODEL


def quickstart(given: Given) -> dict:
    """Read the bundled model on real text; ends by naming the page."""
    import torch

    from susceptometer.compute.options import ReadOptions
    from susceptometer.domains.quickstart import quickstart as start

    torch.set_num_threads(1)  # the products are small: a second thread mostly waits
    options = ReadOptions(progress=not given.json, command="susceptometer quickstart")
    done = start(given.into, options=options, say=sayer(given))
    return {"page": str(done.page), "run": str(Path(given.into) / "run"), "components": done.reading.components}


def components(given: Given) -> dict:
    """The parts of a model and their sizes."""
    parts = named_subject(given).components
    rows = (parts.match(given.pattern) if given.pattern else parts).table()
    for row in rows:
        sayer(given)(f"{row.name:<28} {row.weights:>10,} {row.share:>7.2%}  {' '.join(row.aliases)}")
    return {"components": [{**row._asdict(), "params": list(row.params)} for row in rows]}


def calibrate(given: Given) -> dict:
    """A recipe for a component, and why."""
    from susceptometer.estimate.calibrate import Aim
    from susceptometer.estimate.calibrate import calibrate as calibrated
    from susceptometer.sampling.recipe import recipe_to_dict

    gamma = given.gamma if given.gamma > 0 else None
    aim = Aim(n_beta=given.n_beta, gamma=gamma, groups=given.groups, batch_rows=given.batch_rows or None)
    found = calibrated(named_subject(given), given.component, aim, seed=given.seed)
    recipe = recipe_to_dict(found.recipe)
    if given.out:
        Path(given.out).write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    sayer(given)(repr(found))
    return {"recipe": recipe, "why": repr(found)}


def read(given: Given) -> dict:
    """Chains for the parts of a model, into a folder; goes on where it stopped; --extend adds to a run."""
    from susceptometer.compute.asked import asked_recipe
    from susceptometer.compute.read import cost, extend
    from susceptometer.compute.read import read as read_into

    options = options_of(given)
    if given.extend:
        reading = extend(
            given.extend, subject_of(given.extend), groups=given.groups, components=given.components,
            probes=new_text(given.extend, given.data), options=options,
        )  # fmt: skip
        return read_summary(given, reading, given.extend)
    if not given.model:
        raise DataError("no model is named", where="read", value=None, do=f"give MODEL: {MODEL}")
    subject, recipe = named_subject(given), asked_recipe(given)
    chosen = given.components or ["blocks.*.attn.head.*"]
    if given.dry_run:
        expected = cost(subject, chosen, recipe=recipe, seed=given.seed, options=options)
        sayer(given)(str(expected))
        return {"forecast": asdict(expected)}
    if not given.into:
        raise RunError("no run folder is named", where="read", do="give --into FOLDER")
    reading = read_into(subject, chosen, recipe=recipe, seed=given.seed, into=given.into, options=options)
    return read_summary(given, reading, given.into)


def doctor(given: Given) -> dict:
    """What is wrong with a run, in words; exit code 3 where a chain is sick."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.estimate.diagnostics import check

    found = check(reading_at(given.run, partial=given.partial))
    sayer(given)(repr(found))
    for row in found.rows:
        for note in row.notes:
            sayer(given)(f"{row.component}: {note}")
    return {"healthy": found.healthy, "components": [asdict(row) for row in found.rows]}

"""The command line. Exit codes: 0 fine, 1 an error in words, 2 wrong usage, 3 a sick chain, 130 interrupted."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from susceptometer.errors import DataError, RunError, SusceptometerError
from susceptometer.view.arguments import MODEL, parser

Given = argparse.Namespace

SICK, INTERRUPTED = 3, 130


def quickstart(given: Given) -> dict:
    """Read the bundled model on real text; ends by naming the page."""
    import torch

    from susceptometer.compute.options import ReadOptions
    from susceptometer.domains.quickstart import quickstart as start

    torch.set_num_threads(1)  # the products are small: a second thread mostly waits
    options = ReadOptions(progress=not given.json, command="susceptometer quickstart")
    done = start(given.into, options=options, say=_sayer(given))
    return {"page": str(done.page), "run": str(Path(given.into) / "run"), "components": done.reading.components}


def components(given: Given) -> dict:
    """The parts of a model and their sizes."""
    parts = _subject(given).components
    rows = (parts.match(given.pattern) if given.pattern else parts).table()
    for row in rows:
        _sayer(given)(f"{row.name:<28} {row.weights:>10,} {row.share:>7.2%}  {' '.join(row.aliases)}")
    return {"components": [{**row._asdict(), "params": list(row.params)} for row in rows]}


def calibrate(given: Given) -> dict:
    """A recipe for a component, and why."""
    from susceptometer.estimate.calibrate import Aim
    from susceptometer.estimate.calibrate import calibrate as calibrated
    from susceptometer.sampling.recipe import recipe_to_dict

    gamma = given.gamma if given.gamma > 0 else None
    aim = Aim(n_beta=given.n_beta, gamma=gamma, groups=given.groups, batch_rows=given.batch_rows or None)
    found = calibrated(_subject(given), given.component, aim, seed=given.seed)
    recipe = recipe_to_dict(found.recipe)
    if given.out:
        Path(given.out).write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    _sayer(given)(repr(found))
    return {"recipe": recipe, "why": repr(found)}


def read(given: Given) -> dict:
    """Chains for the parts of a model, into a folder; goes on where it stopped; --extend adds to a run."""
    from susceptometer.compute.asked import asked_recipe
    from susceptometer.compute.read import cost, extend
    from susceptometer.compute.read import read as read_into

    options = _options(given)
    if given.extend:
        reading = extend(
            given.extend, _subject_of(given.extend), groups=given.groups, components=given.components,
            probes=_new_text(given.extend, given.data), options=options,
        )  # fmt: skip
        return _read_summary(given, reading, given.extend)
    if not given.model:
        raise DataError("no model is named", where="read", value=None, do=f"give MODEL: {MODEL}")
    subject, recipe = _subject(given), asked_recipe(given)
    chosen = given.components or ["blocks.*.attn.head.*"]
    if given.dry_run:
        expected = cost(subject, chosen, recipe=recipe, seed=given.seed, options=options)
        _sayer(given)(str(expected))
        return {"forecast": asdict(expected)}
    if not given.into:
        raise RunError("no run folder is named", where="read", do="give --into FOLDER")
    reading = read_into(subject, chosen, recipe=recipe, seed=given.seed, into=given.into, options=options)
    return _read_summary(given, reading, given.into)


def llc(given: Given) -> dict:
    """Learning coefficients of a run."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.estimate.llc import llc as coefficients

    found = coefficients(reading_at(given.run), drop_failed=given.drop_failed)
    _sayer(given)(repr(found))
    rows = found.data.to_dataframe().reset_index().to_dict("records")
    return {"llc": rows, "groups": found.groups, "n_beta": found.data.attrs["n_beta"]}


def chi(given: Given) -> dict:
    """Susceptibilities of a run; --data evaluates new text without sampling again."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.compute.read import extend
    from susceptometer.estimate.susceptibility import susceptibility

    reading = reading_at(given.run)
    if given.data:
        probes = _new_text(given.run, given.data)
        reading = extend(given.run, _subject_of(given.run), probes=probes, options=_options(given))
    found = susceptibility(reading, drop_failed=given.drop_failed)
    _sayer(given)(repr(found))
    if given.out:
        _write_table(found.data.to_dataframe().reset_index(), Path(given.out))
    probes = list(dict.fromkeys(found.data["probe"].values.tolist()))
    out = {"components": reading.components, "probes": probes, "groups": found.groups, "out": given.out}
    values = {} if given.out else {k: found.data[k].values.tolist() for k in ("value", "error")}
    return {**out, **values}


def report(given: Given) -> dict:
    """The page of a run."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.view.report import report as page

    path = page(reading_at(given.run), given.out or Path(given.run) / "report.html")
    _sayer(given)(f"page: {path}")
    return {"page": str(path)}


def doctor(given: Given) -> dict:
    """What is wrong with a run, in words; exit code 3 where a chain is sick."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.estimate.diagnostics import check

    found = check(reading_at(given.run, partial=given.partial))
    _sayer(given)(repr(found))
    for row in found.rows:
        for note in row.notes:
            _sayer(given)(f"{row.component}: {note}")
    return {"healthy": found.healthy, "components": [asdict(row) for row in found.rows]}


def spectrum(given: Given) -> dict:
    """Principal pairs of a run: heads on one side, tokens on the other, which are significant."""
    from susceptometer.structure.words import spectrum_answer

    return _answer(given, spectrum_answer)


def embed(given: Given) -> dict:
    """A map of a run's tokens in the plane, with how faithful it is."""
    from susceptometer.structure.words import embed_answer

    return _answer(given, embed_answer)


def _answer(given: Given, answer: Callable[..., tuple[str, dict, Any]]) -> dict:
    """Words, values and a table of tokens about a run."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.compute.store import open_run

    strings = _subject_of(given.run).meta["token_strings"] if open_run(Path(given.run)).source else None
    told, out, table = answer(reading_at(given.run), given, strings)
    _sayer(given)(told)
    if given.out:
        _write_table(table, Path(given.out))
    return {**out, "out": given.out}


def plan(given: Given) -> dict:
    """Which data strengthen or weaken a part: weights, and the response they should have."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.patterning.words import answer

    strings = _subject_of(given.run).meta["token_strings"] if given.examples else None
    told, out = answer(reading_at(given.run), given, strings)
    _sayer(given)(told)
    return out


def reproduce(given: Given) -> dict:
    """A published claim set, run again: claim, published figure, ours ± error, verdict; without NAME: the list."""
    from susceptometer.reproduce.registry import find, folder_of, names, page
    from susceptometer.reproduce.registry import reproduce as run_again
    from susceptometer.reproduce.setting import Setting
    from susceptometer.view.claims_page import write_claims_page

    say = _sayer(given)
    if given.name is None:
        for name in names():
            say(f"{name:<26} {find(name).about}")
        return {"claims": names()}
    folder = Path(given.into) if given.into else folder_of(given.name, given.scale, given.seed)
    text = Path(given.text) if given.text else None
    setting = Setting(given.scale, given.seed, folder, text=text, say=say)
    table = run_again(given.name, setting)
    if given.out:
        table.write(Path(given.out))
    say(str(table))
    if given.page:
        write_claims_page(Path(given.page), page(table, setting))
        say(f"page: {given.page}")
    return table.as_dict()


def _sayer(given: Given) -> Callable[[str], None]:
    """Where lines go: standard output, or standard error where that is kept for JSON."""
    return lambda text: print(text, file=sys.stderr if given.json else sys.stdout, flush=True)


def _subject(given: Given) -> Any:
    from susceptometer.domains.language import load

    precision = getattr(given, "precision", "float32")
    return load(given.model, step=given.step, data=given.data, precision=precision)


def _subject_of(run: str) -> Any:
    from susceptometer.domains.language import load_source

    return load_source(_source(run))


def _source(run: str) -> Any:
    from susceptometer.compute.store import open_run
    from susceptometer.domains.language import source_from_dict

    source = open_run(Path(run)).source
    if not source:
        raise RunError(
            "the run does not say how its model is loaded", where=str(run), value="no source",
            why="new chains and new text need the model", do="use susceptometer.extend with the subject in Python",
        )
    return source_from_dict(source)


def _new_text(run: str, data: str | None) -> Any:
    from susceptometer.domains.language import text_probes

    return text_probes(_source(run), data) if data else None


def _options(given: Given) -> Any:
    from susceptometer.compute.asked import asked_engine
    from susceptometer.compute.options import ReadOptions
    from susceptometer.compute.schedule import Goal
    from susceptometer.sampling.run import Keep

    command = shlex.join(["susceptometer", *sys.argv[1:]])
    options = ReadOptions(progress=not given.json, announce=_sayer(given), command=command)
    if given.command != "read":
        return options
    aimed = given.target_se is not None or given.budget is not None
    goal = Goal(target_se=given.target_se, budget=given.budget, of=given.of) if aimed else None
    keep = Keep(weights=given.keep_weights)
    return replace(options, goal=goal, full=given.full, keep=keep, engine=asked_engine(given, _sayer(given)))


def _read_summary(given: Given, reading: Any, run: str) -> dict:
    groups = {name: reading.cell(name).sizes["group"] for name in reading.cells}
    _sayer(given)(f"run: {run} ({len(groups)} components, {reading.tokens.sizes['token']:,} tokens)")
    return {"run": str(run), "groups": groups, "tokens": reading.tokens.sizes["token"]}


def _write_table(table: Any, path: Path) -> None:
    writers = {".csv": table.to_csv, ".parquet": table.to_parquet}
    if path.suffix not in writers:
        raise DataError("unknown kind of table", where="--out", value=path.name, do=f"use {list(writers)}")
    writers[path.suffix](path, index=False)


COMMANDS: dict[str, Callable[[Given], dict]] = {
    command.__name__: command
    for command in (quickstart, components, calibrate, read, llc, chi, spectrum, embed, plan, report, doctor, reproduce)
}


def main(words: list[str] | None = None) -> int:
    """Entry of ``susceptometer``."""
    texts = {name: command.__doc__ or "" for name, command in COMMANDS.items()}
    given = parser(texts).parse_args(words)
    try:
        out = COMMANDS[given.command](given)
    except SusceptometerError as error:
        return _failed(given, error)
    except KeyboardInterrupt:
        print("interrupted; finished cells are kept: give the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    if given.json:
        print(json.dumps(out, indent=1, default=str))
    return SICK if out.get("healthy") is False else 0


def _failed(given: Given, error: SusceptometerError) -> int:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    if given.json:
        fields = {key: getattr(error, key) for key in ("what", "where", "value", "why", "do")}
        print(json.dumps({"error": {"kind": type(error).__name__, **fields}}, indent=1, default=str))
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Commands that read results out of runs: llc, chi, spectrum, embed, report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from susceptometer.commands.given import Given, new_text, options_of, sayer, subject_of, write_table


def llc(given: Given) -> dict:
    """Learning coefficients of a run."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.estimate.llc import llc as coefficients

    found = coefficients(reading_at(given.run), drop_failed=given.drop_failed)
    sayer(given)(repr(found))
    rows = found.data.to_dataframe().reset_index().to_dict("records")
    return {"llc": rows, "groups": found.groups, "n_beta": found.data.attrs["n_beta"]}


def chi(given: Given) -> dict:
    """Susceptibilities of a run; --data evaluates new text without sampling again."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.compute.read import extend
    from susceptometer.estimate.susceptibility import susceptibility

    reading = reading_at(given.run)
    if given.data:
        probes = new_text(given.run, given.data)
        reading = extend(given.run, subject_of(given.run), probes=probes, options=options_of(given))
    found = susceptibility(reading, drop_failed=given.drop_failed)
    sayer(given)(repr(found))
    if given.out:
        write_table(found.data.to_dataframe().reset_index(), Path(given.out))
    probes = list(dict.fromkeys(found.data["probe"].values.tolist()))
    out = {"components": reading.components, "probes": probes, "groups": found.groups, "out": given.out}
    values = {} if given.out else {k: found.data[k].values.tolist() for k in ("value", "error")}
    return {**out, **values}


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

    strings = subject_of(given.run).meta["token_strings"] if open_run(Path(given.run)).source else None
    told, out, table = answer(reading_at(given.run), given, strings)
    sayer(given)(told)
    if given.out:
        write_table(table, Path(given.out))
    return {**out, "out": given.out}


def report(given: Given) -> dict:
    """The page of a run."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.view.report import report as page

    path = page(reading_at(given.run), given.out or Path(given.run) / "report.html")
    sayer(given)(f"page: {path}")
    return {"page": str(path)}

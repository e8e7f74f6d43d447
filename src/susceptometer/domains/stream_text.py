"""Documents from a stream, read only as far as needed: any iterator of texts or rows, or a data set of the hub."""

from collections.abc import Iterable, Mapping
from itertools import chain

from susceptometer.domains.token_text import TextPlan
from susceptometer.domains.user_text import DOMAIN_COLUMNS, labelled, with_text
from susceptometer.errors import DataError

HUB = "hub:"
"""``hub:NAME`` or ``hub:NAME@revision`` names a data set of the hub, or a local folder in its form."""

CHARACTERS_PER_TOKEN, SPARE, LONG = 4, 2, 16
"""How much text a row of tokens takes; how many times that is read at least (documents are cut to rows by domain), as
many documents as rows; and how many times that at most, where documents are long."""

STREAM = "stream"
"""Domain of texts that name none."""


def stream_documents(rows: Iterable[str | Mapping], plan: TextPlan, *, where: str = STREAM) -> dict[str, list[str]]:
    """Documents by domain from the beginning of a stream, as many as the plan needs; the rest is not read.

    Args:
        rows: Texts, or rows with a text in ``text`` (``content``, ``document``) and perhaps a domain in ``domain``
            (``pile_set_name``, ``source``, ``subset``; also inside ``meta``). A `datasets.IterableDataset` is one.
        plan: How much text is to be read.
        where: Name used in messages, and domain of texts without one.

    Raises:
        DataError: A row has no text, or the stream ends at once.
    """
    wanted = SPARE * CHARACTERS_PER_TOKEN * plan.length * (plan.data_rows + plan.probe_rows)
    found: dict[str, list[str]] = {}
    read = 0
    for number, row in enumerate(rows):
        domain, text = _document(row, number, where)
        if text.strip():
            found.setdefault(domain, []).append(text)
        read += len(text)
        if read >= LONG * wanted or (read >= wanted and number + 1 >= plan.data_rows):
            break
    if not found:
        raise DataError(
            "there is no text",
            where=where,
            value="0 documents",
            why="the probes would be empty",
            do="give a stream of texts, or of rows with a column 'text'",
        )
    return found


def _document(row: str | Mapping, number: int, where: str) -> tuple[str, str]:
    if isinstance(row, str):
        return where, row
    try:
        inside = row["meta"] if isinstance(row.get("meta"), Mapping) else {}
        return labelled(with_text({**inside, **row}), where, DOMAIN_COLUMNS)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "a row of the stream has no text",
            where=f"{where}, row {number}",
            value=str(error),
            why="part of the text would silently be missing",
            do="give texts, or rows with a column 'text'",
        ) from error


def hub_rows(name: str) -> Iterable[Mapping]:
    """The training rows of a hub data set (or local folder) as a stream; nothing is read before it is asked for.

    Args:
        name: ``hub:NAME`` or ``hub:NAME@revision``.

    Raises:
        DataError: The library is missing, or there is no such data set.
    """
    place, _, revision = name.removeprefix(HUB).partition("@")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "data sets of the hub need a library",
            where="data",
            value=name,
            why=str(error),
            do="pip install 'susceptometer[data]', or give a text file",
        ) from error
    try:
        whole = datasets.load_dataset(place, split="train", streaming=True, revision=revision or None)
        rows = iter(whole)
        return chain([next(rows)], rows)
    except (OSError, ValueError, RuntimeError, StopIteration) as error:
        raise DataError(
            "a data set cannot be read",
            where=name,
            value=str(error).split("\n", 1)[0] or "it is empty",
            why="nothing can be read from it",
            do="check the name, the revision and the network, or give a text file",
        ) from error

"""Documents from files a user names: text, JSON lines (plain or zstd), Parquet; with a label of each one's domain."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from susceptometer.domains.corpus import zstandard_library
from susceptometer.errors import DataError

TEXT_COLUMNS = ("text", "content", "document")
DOMAIN_COLUMNS = ("domain", "pile_set_name", "source", "subset")
SURE_COLUMNS = DOMAIN_COLUMNS[:2]
JSON_SUFFIXES = (".jsonl", ".json", ".jsonl.zst")


def text_documents(path: str | Path) -> dict[str, list[str]]:
    """Documents by domain, from one file or from every readable file of a folder.

    A file of text is one document. A line of JSON or a row of Parquet is one document with its text in ``text``
    (or ``content``, ``document``) and, if there is one, its domain in ``domain`` (or ``pile_set_name``; in a single
    file also ``source`` or ``subset``, which elsewhere often name one document). Without a label the file's name is
    the domain. A folder with such files is read for them alone: its README or manifest is no document.

    Raises:
        DataError: The file is missing, empty, or cannot be read as what its name says.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(
            "there is no such text file",
            where="data",
            value=str(path),
            why="nothing can be read from it",
            do="check the path",
        )
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    tables = [file for file in files if _is_table(file)]
    columns = SURE_COLUMNS if len(tables) > 1 else DOMAIN_COLUMNS
    found: dict[str, list[str]] = {}
    for file in tables or files:
        for domain, text in _documents(file, columns):
            if text.strip():
                found.setdefault(domain, []).append(text)
    if not found:
        raise DataError(
            "there is no text",
            where=str(path),
            value="0 documents",
            why="the probes would be empty",
            do="give .txt, .jsonl, .jsonl.zst or .parquet files with text",
        )
    return found


def _is_table(file: Path) -> bool:
    return file.name.endswith((*JSON_SUFFIXES, ".parquet"))


def _documents(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    stem = file.name.split(".")[0] or "text"
    if not _is_table(file):
        return iter([(stem, _plain(file))])
    rows = _parquet(file) if file.suffix == ".parquet" else _json_lines(file)
    return (labelled(row, stem, columns) for row in rows)


def _plain(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise _unreadable(file, error, "save it as UTF-8 text") from error


def _json_lines(file: Path) -> Iterator[dict]:
    number = 0
    try:
        for number, line in enumerate(_lines(file), start=1):  # noqa: B007
            if line.strip():
                yield with_text(json.loads(line))
    except (ValueError, KeyError, TypeError, OSError) as error:
        do = f"every line must be a JSON object with a text in {', '.join(TEXT_COLUMNS)}"
        raise _unreadable(file, f"line {number}: {error}", do) from error


def _lines(file: Path) -> Iterator[str]:
    if not file.name.endswith(".zst"):
        with file.open(encoding="utf-8") as lines:
            yield from lines
        return
    library = zstandard_library()
    try:
        with file.open("rb") as raw:
            yield from io.TextIOWrapper(library.ZstdDecompressor().stream_reader(raw), "utf-8")
    except library.ZstdError as error:
        raise ValueError(str(error)) from error


def with_text(row: Mapping) -> dict:
    """The row with its text under ``text``."""
    text = next((row[key] for key in TEXT_COLUMNS if key in row), None)
    if not isinstance(text, str):
        raise KeyError(f"no text among {list(row)}")
    return {**row, "text": text}


def labelled(row: Mapping, stem: str, columns: tuple[str, ...]) -> tuple[str, str]:
    """Domain and text of a row that has its text under ``text``; ``stem`` where it names no domain."""
    return str(next((row[key] for key in columns if row.get(key)), stem)), row["text"]


def _parquet(file: Path) -> Iterator[dict]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error, "write it again, or give text or JSON lines") from error
    kept = [name for name in (*TEXT_COLUMNS, *DOMAIN_COLUMNS) if name in table.column_names]
    if not set(kept) & set(TEXT_COLUMNS):
        do = f"name the text column one of {', '.join(TEXT_COLUMNS)}"
        raise _unreadable(file, f"columns {table.column_names}", do)
    yield from map(with_text, table.select(kept).to_pylist())


def _unreadable(file: Path, error: object, do: str) -> DataError:
    return DataError(
        "a text file cannot be read",
        where=str(file),
        value=str(error).split("\n", 1)[0],
        why="part of the text would silently be missing",
        do=do,
    )

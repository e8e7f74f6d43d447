"""Text that lies on any Python installation, in named domains: what the package reads when it is
given no data.

Nothing is downloaded and nothing is bundled: the documents are the standard library's own source,
docstrings and help pages, and the licence texts that come with Python. They are a function of the
Python version alone.
"""

import ast
import builtins
import importlib.util
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

SHORTEST = 400
"""Documents with fewer characters are left out."""

SOURCE_FILES = 150
"""Source files read, spread evenly over the sorted list of the standard library."""

LEFT_OUT = ("test", "site-packages", "lib2to3", "_sysconfigdata", "config-")
"""Beginnings of top-level names that are not read: tests, other packages, records of the build."""

MAXIMUM = 60_000
"""Characters kept of one document."""


@lru_cache(maxsize=1)
def standard_documents() -> dict[str, tuple[str, ...]]:
    """The documents by domain: ``code``, ``docstrings``, ``help``, ``licence``.

    ``code`` is whole source files, ``docstrings`` the prose in them, ``help`` the language
    reference behind ``help()``, ``licence`` legal text. Cost: about a second, once.
    """
    sources = [text for text in map(readable, source_files()) if text]
    found = {
        "code": [text[:MAXIMUM] for text in sources],
        "docstrings": [prose for text in sources if (prose := docstring_prose(text))],
        "help": help_pages(),
        "licence": licences(),
    }
    kept = {name: long_enough(texts) for name, texts in found.items()}
    return {name: texts for name, texts in kept.items() if texts}


def long_enough(texts: list[str]) -> tuple[str, ...]:
    """Documents of at least `SHORTEST` characters; all of them if none is that long."""
    return tuple(text for text in texts if len(text) >= SHORTEST) or tuple(filter(None, texts))


def library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def source_files() -> list[Path]:
    """Top-level modules and files of top-level packages of the standard library, evenly thinned, in
    sorted order.
    """
    folder = library()
    every = sorted([*folder.glob("*.py"), *folder.glob("[a-z]*/*.py")])
    plain = [path for path in every if not path.relative_to(folder).parts[0].startswith(LEFT_OUT)]
    return plain[:: max(1, len(plain) // SOURCE_FILES)]


def readable(path: Path) -> str:
    """The text of a file, empty where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return ""


def docstring_prose(source: str) -> str:
    """Every docstring of a source text, in order, one blank line between them."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return "\n\n".join(text for text in texts if text)[:MAXIMUM]


def help_pages() -> list[str]:
    """The language reference that ``help()`` shows, one document a topic; builtin docstrings where
    it is missing.
    """
    if importlib.util.find_spec("pydoc_data.topics"):
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)]
    return [builtin_docstrings()]


def builtin_docstrings() -> str:
    """The docstrings of all builtins."""
    texts = [getattr(builtins, name).__doc__ for name in sorted(dir(builtins))]
    return "\n\n".join(text for text in texts if text)


def licences() -> list[str]:
    """Python's licence, its list of licences and acknowledgements, and the sources' own notices."""
    found = [readable(path) for path in licence_files()]
    texts = [text for text in found if text]
    return texts or [notice for notice in map(notice_of, source_files()) if notice]


def licence_files() -> Iterator[Path]:
    """Licence files next to the standard library and of the packages that come with Python."""
    folder = library()
    yield from sorted(folder.glob("LICENSE*"))
    yield from sorted(folder.glob("ensurepip/**/LICENSE*"))


def notice_of(path: Path) -> str:
    """The comment lines of a source file that speak of copyright or licence."""
    lines = readable(path).splitlines()
    comment = [line.lstrip("# ") for line in lines[:60] if line.startswith("#")]
    return "\n".join(comment) if any("opyright" in line for line in comment) else ""

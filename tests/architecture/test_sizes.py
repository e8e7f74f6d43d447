"""Files, functions and parameter lists stay small enough to be read at once."""

import ast
import statistics

import pytest

from architecture.source import PACKAGE, ROOT, Function, Module, modules

FILE_LINES, BODY_LINES, BODY_MEDIAN, PARAMETERS = 300, 60, 10, 6

EXCEPTIONS: dict[str, str] = {
    "tests/truth/test_gaussian_law.py": "every printed value of one law, in one place",
}
"""``place`` or ``place:function`` -> the reason why it may be larger."""

FOLDERS = [PACKAGE, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples", ROOT / "docs"]
MODULES = [item for folder in FOLDERS for item in modules(folder)]


def body_lines(function: Function) -> int:
    """Lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> int:
    """Number of parameters; ``self``, ``cls`` and autograd's ``ctx`` are not counted."""
    args = function.args
    names = [arg.arg for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]]
    return len([name for name in names if name not in {"self", "cls", "ctx"}])


def excepted(module: Module, name: str = "") -> bool:
    """Whether the table of exceptions names this file or function."""
    return (f"{module.place}:{name}" if name else module.place) in EXCEPTIONS


def test_files_are_short():
    long = {item.place: item.text.count("\n") for item in MODULES if not excepted(item)}
    assert {place: lines for place, lines in long.items() if lines > FILE_LINES} == {}


@pytest.mark.parametrize("suffix", ["css", "js", "html"])
def test_page_sources_are_short(suffix):
    lines = {path.name: path.read_text().count("\n") for path in PACKAGE.rglob(f"*.{suffix}")}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_function_bodies_are_short():
    long = {
        f"{item.place}:{function.name}": body_lines(function)
        for item in MODULES
        for function in item.functions()
        if body_lines(function) > BODY_LINES and not excepted(item, function.name)
    }
    assert long == {}


def test_the_typical_function_fits_in_a_glance():
    sizes = [body_lines(function) for item in modules(PACKAGE) for function in item.functions()]
    assert statistics.median(sizes) < BODY_MEDIAN


def test_parameter_lists_are_short():
    long = {
        f"{item.place}:{function.name}": parameters(function)
        for item in modules(PACKAGE)
        for function in item.functions()
        if parameters(function) > PARAMETERS and not excepted(item, function.name)
    }
    assert long == {}


def test_exceptions_are_alive_and_have_reasons():
    places = {item.place for item in MODULES}
    places |= {f"{item.place}:{function.name}" for item in MODULES for function in item.functions()}
    assert set(EXCEPTIONS) <= places
    assert all(reason.strip() for reason in EXCEPTIONS.values())

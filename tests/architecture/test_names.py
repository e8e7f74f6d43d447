"""One word for one thing: banned identifiers, banned file names, and settings that have no default."""

import ast
import tomllib
from collections.abc import Iterator

import pytest

from architecture.source import PACKAGE, ROOT, Function, Module, modules, public

WORDS = tomllib.loads((ROOT / "docs" / "glossary.toml").read_text(encoding="utf-8"))["word"]
BANNED = {name for word in WORDS for name in word["never"]}
BANNED_PREFIXES = ("compute_", "get_", "estimate_")
BANNED_FILES = {"utils", "util", "common", "helpers", "helper", "core", "misc"}
NO_DEFAULT = {"n_beta", "gamma", "step_size", "seed"}
MODULES = modules(PACKAGE)

FOREIGN = {"forward", "compute_loss"}
"""Methods whose name and signature belong to another library."""

IDENTIFIERS_ALLOWED = {"src/susceptometer/estimate/curvature.py beta": "off-diagonal of Lanczos"}
"""File and identifier that may stand all the same, with its reason."""

KEYWORDS_ALLOWED = {
    "src/susceptometer/estimate/estimate.py:sel": "mirrors xarray's own sel",
    "src/susceptometer/sampling/recipe.py:with_schedule": "fields of Schedule, checked by replace",
}
"""Functions that take any keyword, each with its reason."""

DEFAULTS_ALLOWED = (
    "cli",
    "commands/",
    "reproduce/",
    "domains/pico.py",
    "domains/gridworld_env.py",
    "estimate/curvature.py",
)
"""The outer door, where a command states every value it uses; pico, whose seed names a stored file; the environment, whose signature is gymnasium's; the quadratic
law of a spectrum, where a step of zero is the continuum."""


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a file defines or assigns (names of other libraries' arguments do not count)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, Function | ast.ClassDef):
            yield node.name, node.lineno


def defaulted(function: Function) -> Iterator[str]:
    """Names of the parameters of a function that have a default."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    yield from (arg.arg for arg in positional[len(positional) - len(args.defaults) :])
    keyword = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    yield from (arg.arg for arg, default in keyword if default is not None)


def defaulted_fields(module: Module) -> Iterator[str]:
    """Names of annotated class fields that have a default."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            lines = [line for line in node.body if isinstance(line, ast.AnnAssign) and line.value]
            yield from (line.target.id for line in lines if isinstance(line.target, ast.Name))


def outer(module: Module) -> bool:
    """Whether a file belongs to the outer door."""
    return str(module.path.relative_to(PACKAGE)).startswith(DEFAULTS_ALLOWED)


def test_no_banned_identifier():
    found = [
        f"{item.place}:{line} {name}"
        for item in MODULES
        for name, line in identifiers(item.tree)
        if name in BANNED and f"{item.place} {name}" not in IDENTIFIERS_ALLOWED
    ]
    assert found == []


def test_functions_are_named_after_what_they_return():
    found = [
        f"{item.place}:{function.lineno} {function.name}"
        for item in MODULES
        for function in item.functions()
        if function.name.lstrip("_").startswith(BANNED_PREFIXES) and function.name not in FOREIGN
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_no_attic(folder):
    found = [path for path in (ROOT / folder).rglob("*") if path.stem in BANNED_FILES]
    assert [str(path.relative_to(ROOT)) for path in found] == []


def test_public_signatures_hide_nothing():
    found = [
        f"{item.place}:{function.name}"
        for item in MODULES
        for function in item.functions()
        if public(function.name) and function.args.kwarg and function.name not in FOREIGN
    ]
    assert set(found) <= set(KEYWORDS_ALLOWED)


def test_settings_that_decide_the_answer_have_no_default():
    found = [
        f"{item.place} {function.name}({name})"
        for item in MODULES
        if not outer(item)
        for function in item.functions()
        for name in defaulted(function)
        if name in NO_DEFAULT
    ]
    found += [
        f"{item.place} field {name}"
        for item in MODULES
        if not outer(item)
        for name in defaulted_fields(item)
        if name in NO_DEFAULT
    ]
    assert found == []


def test_no_mutable_default():
    found = [
        f"{item.place}:{function.lineno} {function.name}"
        for item in MODULES
        for function in item.functions()
        for default in [*function.args.defaults, *function.args.kw_defaults]
        if isinstance(default, ast.List | ast.Dict | ast.Set)
    ]
    assert found == []

"""Rooms import only rooms with a smaller number, and files inside a room never in a circle."""

import ast
import graphlib
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from architecture.source import PACKAGE, Module, modules

ROOMS = {
    "types": 0, "errors": 0, "rng": 0, "tree": 0,
    "posterior": 1, "sampling": 2, "testbed": 3, "estimate": 4, "structure": 5, "train": 6,
    "patterning": 7, "compute": 8, "develop": 9, "view": 10, "domains": 11, "reproduce": 12,
    "commands": 13, "cli": 14, "__main__": 15, "__init__": 15,
}  # fmt: skip


def dotted(path: Path, package: Path) -> str:
    """``susceptometer.room.file`` of a path; a room's ``__init__`` is the room itself."""
    parts = path.relative_to(package).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(("susceptometer", *parts))


def imports(module: Module) -> set[str]:
    """Dotted names of the package's own modules (or names in them) that a module imports anywhere."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.place}:{node.lineno} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "susceptometer"}


def room(name: str) -> str:
    """The room of a dotted name; the bare package counts as its root file."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def edges(package: Path) -> list[tuple[str, str]]:
    """Every (importing module, imported module) pair of the package."""
    found = {dotted(item.path, package): imports(item) for item in modules(package)}
    return [(name, _module_of(target, set(found))) for name in found for target in found[name]]


def _module_of(target: str, known: set[str]) -> str:
    while target not in known and "." in target:
        target = target.rpartition(".")[0]
    return target


def upward(package: Path) -> list[str]:
    """Imports that go up, or into an unknown room."""
    wrong = []
    for source, target in edges(package):
        mine, theirs = room(source), room(target)
        if mine == theirs:
            continue
        if ROOMS.get(theirs, 99) > ROOMS.get(mine, -1):
            wrong.append(f"{source} -> {target}")
    return wrong


def circles(package: Path) -> list[str]:
    """Modules that import each other in a circle (at most one circle is named)."""
    graph = defaultdict(set)
    for source, target in edges(package):
        if source != target:
            graph[source].add(target)
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_is_known():
    found = {path.stem for path in PACKAGE.glob("*.py")}
    found |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found <= set(ROOMS)


def test_no_upward_import():
    assert upward(PACKAGE) == []


def test_no_circle():
    assert circles(PACKAGE) == []


@pytest.mark.parametrize("planted", ["import susceptometer.view", "from susceptometer import view"])
def test_a_planted_upward_import_is_caught(tmp_path, planted):
    copy = tmp_path / "susceptometer"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    path = copy / "sampling" / "sgld.py"
    path.write_text(path.read_text() + f"\n\ndef late() -> None:\n    {planted}\n")
    assert upward(copy) == ["susceptometer.sampling.sgld -> susceptometer.view"]


def test_a_planted_circle_is_caught(tmp_path):
    copy = tmp_path / "susceptometer"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    (copy / "view" / "one.py").write_text("import susceptometer.view.two\n")
    (copy / "view" / "two.py").write_text("import susceptometer.view.one\n")
    assert set(circles(copy)) == {"susceptometer.view.one", "susceptometer.view.two"}


def test_room_inits_hold_a_docstring_and_nothing_else():
    rooms = [item for item in modules(PACKAGE) if item.path.name == "__init__.py"]
    full = [item.place for item in rooms if item.path.parent != PACKAGE and len(item.tree.body) != 1]
    assert full == []

"""Documentation that cannot lag: docstrings, citations, commands, the glossary and the status page."""

import ast
import re
import runpy

from architecture.source import PACKAGE, ROOT, Module, modules, public
from susceptometer.cli import COMMANDS

CITATION = re.compile(r"\b([a-z]+(?:19|20)\d\d[a-z]?)\b")
MODULES = modules(PACKAGE)


def undocumented(module: Module) -> list[str]:
    """Public classes, functions and methods of a module that have no docstring."""
    found = [] if ast.get_docstring(module.tree) else [module.place]
    for node in module.tree.body:
        members = node.body if isinstance(node, ast.ClassDef) and documents(node) else []
        for item in [node, *members]:
            named = isinstance(item, ast.FunctionDef | ast.ClassDef) and public(item.name)
            if named and not ast.get_docstring(item):
                found.append(f"{module.place}:{item.lineno} {item.name}")
    return found


def documents(node: ast.ClassDef) -> bool:
    """Whether a class must document its methods: public, and no protocol (whose docstring names them)."""
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return public(node.name) and "Protocol" not in bases


def docstrings(module: Module) -> list[str]:
    """Every docstring of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(module.tree) if isinstance(node, kinds)]
    return [text for text in map(ast.get_docstring, nodes) if text]


def make_targets() -> set[str]:
    """The commands of the Makefile."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_public_names_are_documented():
    assert [line for item in MODULES for line in undocumented(item)] == []


def test_citations_exist():
    keys = set(re.findall(r"@\w+\{([^,]+),", (ROOT / "references.bib").read_text()))
    used = {(item.place, key) for item in MODULES for text in docstrings(item) for key in CITATION.findall(text)}
    assert {pair for pair in used if pair[1] not in keys} == set()


def test_documented_make_commands_exist():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    used = {name for page in pages for name in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert used <= make_targets()


def test_makefile_has_the_promised_commands():
    assert {"quickstart", "test", "check", "fix", "bench", "docs", "pico"} <= make_targets()


def test_documented_commands_exist():
    used = set(re.findall(r"^susceptometer ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used <= set(COMMANDS)


def test_glossary_is_fresh():
    text = runpy.run_path(str(ROOT / "docs" / "glossary.py"))["text"]()
    assert (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8") == text


def test_status_lines_say_done_or_open():
    lines = (ROOT / "docs" / "status.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if re.match(r"\| *\d", line)]
    assert len(rows) >= 60
    assert all(re.search(r"\| (done|part|open)( \||:)", line) for line in rows)

"""What `import susceptometer` promises: names that exist, and an import that stays light."""

import ast
import importlib
import subprocess
import sys

from architecture.source import PACKAGE, modules

# matplotlib is not in the list: arviz-stats, which every estimate needs, brings it.
HEAVY = ("transformers", "bokeh", "ray", "umap", "pynndescent", "numba", "sklearn")


def exported() -> list[str]:
    """The names the root file imports from the rooms."""
    root = next(item for item in modules(PACKAGE) if item.path == PACKAGE / "__init__.py")
    lines = [node for node in root.tree.body if isinstance(node, ast.ImportFrom)]
    return [alias.asname or alias.name for line in lines for alias in line.names]


def test_all_lists_what_the_root_exports():
    package = importlib.import_module("susceptometer")
    names = [name for name in exported() if not name.startswith("_")]
    assert set(names) <= set(getattr(package, "__all__", []))
    assert all(hasattr(package, name) for name in getattr(package, "__all__", []))


def test_exported_names_have_docstrings():
    package = importlib.import_module("susceptometer")
    things = {name: getattr(package, name) for name in exported()}
    silent = [name for name, thing in things.items() if callable(thing) and not thing.__doc__]
    assert silent == []


def test_import_is_light():
    code = f"import sys, susceptometer; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_every_module_imports():
    names = [item.path.relative_to(PACKAGE).with_suffix("").parts for item in modules(PACKAGE)]
    for parts in names:
        if parts[-1] not in {"__init__", "__main__"}:
            importlib.import_module(".".join(("susceptometer", *parts)))

"""The layout that CONTRIBUTING.md describes: imports point one way, and modules stay short."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "specmask"
LONGEST_MODULE = 350
LONGEST_FUNCTION = 80
SCRIPTS = sorted(p for p in (*ROOT.glob("*.py"), *(ROOT / "data").glob("*.py")))
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = (ROOT / name for name in ("tests", "benchmarks", "demo", "examples"))
EVERYWHERE = [*FILES, *SCRIPTS, *sorted(p for folder in FOLDERS for p in folder.glob("*.py"))]


def order() -> list[str]:
    """Return the modules in the order of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = text[text.index("imports point one way:") : text.index("A module imports only")]
    return [name.rstrip("/") for name in re.findall(r"`([\w/]+)`", listed)]


def owner(path: Path) -> str:
    """Return the name under which a file stands in the order."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return what of the package a file imports, inside of functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "specmask":
            inner = node.module.split(".")[1:]
            found |= {inner[0]} if inner else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("specmask.")}
    return found


def test_every_module_stands_in_the_order():
    there = {owner(p) for p in FILES} - {"__init__", "__main__"}
    assert sorted(order()) == sorted(there)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path):
    if path.name in ("__init__.py", "__main__.py") and path.parent == PACKAGE:
        return
    names = order()
    place = names.index(owner(path))
    wrong = {n for n in imported(path) - {owner(path)} if n in names and names.index(n) > place}
    assert not wrong, f"{path.name} imports {', '.join(sorted(wrong))}, which stand behind it"


def modules(tree: ast.AST) -> dict[str, object]:
    """Return the modules of the package that a file imports and gives no other meaning, by name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "specmask":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if importlib.util.find_spec(node.module).submodule_search_locations and (
                    importlib.util.find_spec(name)
                ):
                    found[alias.asname or alias.name] = importlib.import_module(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            found.pop(node.arg, None)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.pop(node.id, None)
    return found


@pytest.mark.parametrize("path", EVERYWHERE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_is_used_of_a_module_exists(path):
    """Benchmarks run rarely: what has moved away would be missed only then."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = modules(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = known.get(node.value.id)
            assert module is None or hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", [*FILES, *SCRIPTS], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name}: {length} lines"

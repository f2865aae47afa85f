"""The import rule: arrows point one way, and light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"supernet": {"supernet"}, "search": {"supernet", "search"}}
PACKAGES["retrain"] = {"supernet", "retrain"}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).glob("**/*.py"))]


def imported_packages(path):
    """First-party packages that a file imports anywhere, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found & set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    assert imported_packages(path) <= PACKAGES[path.relative_to(ROOT).parts[0]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 320


def test_first_party_imports_have_no_cycle():
    graph = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        graph[name] = {
            node.module
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES
        }
    done = set()
    while ready := {n for n in graph if n not in done and (graph[n] & set(graph)) <= done}:
        done |= ready
    assert done == set(graph)


def test_the_space_and_its_costs_load_no_torch():
    code = (
        "import sys, supernet.archfile, supernet.census, supernet.cost, supernet.spacefile;"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("package", [*PACKAGES, "supernet/latency"])
def test_package_files_hold_a_docstring_only(package):
    body = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def test_main_files_hold_no_class():
    for path in FILES:
        if path.name != "__main__.py":
            continue
        assert not [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]

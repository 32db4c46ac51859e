"""Imports point downwards only: the architecture, held by a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kling_batch"
GROUND = ("errors", "clock", "collector", "files", "lock", "model", "structs", "__init__")
LAYERS = (
    "manifest",
    "service",
    "state",
    "planning",
    "execution",
    "report",
    "simulator",
    "cli",
)


def _layer(part: str) -> int:
    return LAYERS.index(part) + 1 if part in LAYERS else 0


def _imports(path: Path) -> set[str]:
    """The parts of ours that a module imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "kling_batch":
                found.add(parts[1] if len(parts) > 1 else "__init__")
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_downwards(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__main__":
        return
    for imported in _imports(path):
        assert imported in (*GROUND, *LAYERS), f"{imported} has no layer"
        assert _layer(imported) <= _layer(part), f"{part} imports {imported}"
        if part in GROUND and part != "__init__":
            assert imported in GROUND


def test_only_the_command_line_prints_and_exits() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "__main__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = (
                node.func.id
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                else ""
            )
            assert name not in ("print", "input", "exit", "quit"), path


def test_the_simulator_knows_nothing_of_the_program_that_it_tests() -> None:
    for path in (PACKAGE / "simulator").rglob("*.py"):
        assert _imports(path) <= {"errors", "clock", "model", "service", "simulator"}

"""The walls between the rooms: who may import what, read the environment, look at the clock."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import genomic_platform

PACKAGE = Path(genomic_platform.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LIBRARY = ("genotypes", "phenotypes", "models", "drift")
LONGEST_FILE = 350
#: What stops computing in `defs/`: NumPy, SciPy and everything that fits a model.
COMPUTING = {"numpy", "scipy", "torch", "sklearn", "evidently", "ray", "mlflow", "lakefs"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Dotted names of everything a module imports, inside functions too; names taken from a module included."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def attributes(path: Path) -> set[str]:
    """`os.environ`, `time.time`, … used anywhere in a module."""
    return {f"{node.value.id}.{node.attr}" for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}


def in_room(*rooms: str) -> Iterator[Path]:
    return (p for p in MODULES if p.relative_to(PACKAGE).parts[0] in rooms)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def breaking(paths: Iterator[Path] | list[Path], forbidden: set[str]) -> dict[str, set[str]]:
    """Modules that import one of the forbidden packages or modules, or something inside one."""
    found = {name_of(p): {i for i in imported(p) if any(i == f or i.startswith(f"{f}.") for f in forbidden)}
             for p in paths}
    return {name: what for name, what in found.items() if what}


def test_the_library_knows_nothing_of_dagster_mlflow_settings() -> None:
    forbidden = {"dagster", "mlflow", "lakefs", "genomic_platform.settings", "genomic_platform.workspace",
                 "genomic_platform.defs", "genomic_platform.stores", "genomic_platform.io_managers"}
    assert breaking(list(in_room(*LIBRARY)), forbidden) == {}


def test_the_library_has_an_order() -> None:
    """Genotypes and phenotypes are upstream of models, models of drift."""
    rooms = {room: f"genomic_platform.{room}" for room in LIBRARY}
    assert breaking(list(in_room("genotypes", "phenotypes")), {rooms["models"], rooms["drift"]}) == {}
    assert breaking(list(in_room("models")), {rooms["drift"]}) == {}


def test_only_stores_speak_to_mlflow_and_lakefs() -> None:
    assert breaking([p for p in MODULES if p not in set(in_room("stores"))], {"mlflow", "lakefs", "lakefs_sdk"}) == {}


def test_only_executors_touch_the_inside_of_dagster() -> None:
    assert breaking([p for p in MODULES if p not in set(in_room("executors"))], {"dagster._core"}) == {}


def test_defs_compute_nothing() -> None:
    assert breaking(list(in_room("defs")), COMPUTING) == {}


def test_only_settings_reads_the_environment() -> None:
    reading = {name_of(p) for p in MODULES if {"os.environ", "os.getenv", "os.putenv"} & attributes(p)
               or {"os.environ", "os.getenv"} & imported(p)}
    assert reading == {"settings.py"}


def test_nothing_is_stale_by_the_clock() -> None:
    """What runs is decided by digests: no room that decides it reads the time of day or a file's."""
    deciding = [*in_room("defs"), PACKAGE / "landing" / "state.py", PACKAGE / "stores" / "assets.py",
                PACKAGE / "stores" / "release.py"]
    clocks = {"time.time", "datetime.now", "datetime.utcnow", "date.today", "stat.st_mtime"}
    assert {name_of(p): clocks & attributes(p) for p in deciding if clocks & attributes(p)} == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_is_one_room_and_says_what_is_in_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    assert not text.strip() or ast.get_docstring(tree(path)), "no module docstring"


def test_the_walls_would_be_seen_broken(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    import dagster as dg\n    from os import environ\n    return time.time()\n")
    assert imported(module) == {"dagster", "os", "os.environ"}
    assert attributes(module) == {"time.time"}

"""Rooms and floors of the library: imports point down, heavy packages wait until they are needed."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import xailib

SOURCE = Path(xailib.__file__).parent
FLOORS = {
    1: {"attention", "grid", "heatmap", "inputs", "network", "rectifier", "rerun"},
    2: {"data", "explain", "metrics", "models", "training"},
    3: {"benchmark", "checks", "course", "doctor", "grading", "plot", "runs", "widgets", "workbench"},
}
NEIGHBOURS = {("training", "models"), ("training", "data")}  # on floor 2, who may import whom
HEAVY = {"ipywidgets", "matplotlib", "pandas", "scipy", "skimage", "sklearn", "timm", "torchvision", "tqdm"}
AT_THE_TOP = {"plot": {"matplotlib"}, "widgets": {"ipywidgets"}, "workbench.page": {"ipywidgets"}}  # nothing without
OUTSIDE = {"benchmarks", "exercises", "lessons", "lessons_src", "notebooks", "solutions", "tests", "tools"}

FILES = {".".join(file.relative_to(SOURCE).with_suffix("").parts): file for file in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


def room(name: str) -> str:
    return name.split(".")[0]


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of all imports below a node, in functions too; of `from xailib import a` it is xailib.a."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            found |= {f"{node.module}.{name.name}" if node.module == "xailib" else node.module for name in node.names}
    return found


def imported_at_the_top(tree: ast.Module) -> set[str]:
    statements = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {room(name) for node in statements for name in imported(node)}


ROOM_IMPORTS = {
    (room(name), path.split(".")[1]) for name, tree in TREES.items() for path in imported(tree) if "xailib." in path
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}


def test_every_room_has_a_floor_and_opens():
    rooms = {room(name) for name in FILES if not name.startswith("_")}
    assert rooms <= FLOOR.keys()
    assert set(xailib._ROOMS) == rooms, "a room is a file, or a folder with an __init__.py"
    assert rooms <= set(dir(xailib))
    for name in rooms:
        assert getattr(xailib, name).__name__ == f"xailib.{name}"
    with pytest.raises(AttributeError, match="module 'xailib' has no attribute 'explian'"):
        xailib.explian  # noqa: B018


def test_imports_point_down():
    assert ("explain", "network") in ROOM_IMPORTS  # the reading of the sources works
    up = {(above, below) for above, below in ROOM_IMPORTS - NEIGHBOURS if FLOOR.get(above, 4) < FLOOR.get(below, 0)}
    beside = {
        pair for pair in ROOM_IMPORTS - NEIGHBOURS if {FLOOR.get(name) for name in pair} == {2} and len({*pair}) > 1
    }
    assert not up and not beside


def test_imports_go_round_in_no_circle():
    needs = {}
    for above, below in ROOM_IMPORTS:
        needs.setdefault(above, set()).update({below} - {above})
    assert list(TopologicalSorter(needs).static_order())  # raises CycleError


def test_one_room_draws_one_makes_widgets_one_knows_hooks():
    def rooms_with(package):
        return {room(name) for name, tree in TREES.items() if package in {room(path) for path in imported(tree)}}

    assert rooms_with("matplotlib") == {"plot"} and rooms_with("ipywidgets") == {"widgets", "workbench"}
    calls = {
        (name, node.attr)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("register_") and node.attr.endswith("hook")
    }
    assert calls == {("network", "register_forward_hook")}


def test_the_library_knows_nothing_of_the_lessons():
    assert not {room(path) for tree in TREES.values() for path in imported(tree)} & OUTSIDE


@pytest.mark.parametrize("name", TREES)
def test_heavy_packages_are_imported_where_they_are_used(name):
    assert imported_at_the_top(TREES[name]) & HEAVY <= AT_THE_TOP.get(name, set())


# --- what an import costs ---------------------------------------------------------------------------------------------

IMPORT = """
import sys, time
import torch
before, start = set(sys.modules), time.process_time()
import xailib
alone = time.process_time() - start
for room in {rooms}:
    getattr(xailib, room)
print(alone, time.process_time() - start, *{{name.split(".")[0] for name in set(sys.modules) - before}})
"""


def test_import_is_light_and_fast():
    """In seconds of processor time, so that other programs on the machine do not count."""
    rooms = sorted(set(xailib._ROOMS) & (FLOORS[1] | FLOORS[2]))
    ran = subprocess.run([sys.executable, "-c", IMPORT.format(rooms=rooms)], capture_output=True, text=True, check=True)
    alone, with_rooms, *loaded = ran.stdout.split()
    assert not HEAVY & {*loaded}
    assert float(alone) <= 0.3, f"after torch, import xailib took {alone} s"
    assert float(with_rooms) <= 0.3, f"after torch, import of all rooms of floors 1 and 2 took {with_rooms} s"
    print(f"after torch, import xailib took {alone} s, all rooms of floors 1 and 2 {with_rooms} s")

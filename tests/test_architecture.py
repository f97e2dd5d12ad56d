"""The shape of the code: who may import whom, and the one exit for camera pixels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "protocol": {"protocol"},
    "vision": {"vision"},
    "edge_node": {"edge_node", "protocol", "vision"},
    "hub": {"hub", "protocol", "vision"},
    "enrollment": {"enrollment", "protocol", "vision"},
}
MAKERS_OF_MASKED_FRAMES = {"edge_node/privacy/veil.py"}
MAY_HOLD_RAW_FRAMES = {
    "edge_node/bench.py",  # draws its own, and has no sink
    "edge_node/frames.py",
    "edge_node/analysis.py",
    "edge_node/node.py",
    "edge_node/pipeline.py",
    "edge_node/privacy/release.py",
    "edge_node/privacy/veil.py",
}
PURE = ("edge_node/privacy", "edge_node/tracking", "edge_node/liveness")
IMPURE_MODULES = {"threading", "asyncio", "socket", "zmq", "time", "av", "aiohttp", "random"}


def modules(package: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path, ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def called(tree: ast.Module) -> set[str]:
    """Every name that is called, with or without a module in front."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                names.add(function.id)
            elif isinstance(function, ast.Attribute):
                names.add(function.attr)
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_packages_import_only_what_the_design_allows(package: str) -> None:
    for path, tree in modules(package):
        own = {name.split(".")[0] for name in imported(tree)} & set(ALLOWED)
        assert own <= ALLOWED[package], f"{path} imports {own - ALLOWED[package]}"


def test_one_function_makes_the_frames_that_sinks_accept() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for package in ALLOWED
        for path, tree in modules(package)
        if "MaskedFrame" in called(tree)
    }
    assert makers == MAKERS_OF_MASKED_FRAMES


def test_a_masked_frame_is_not_copied_with_other_pixels() -> None:
    """`dataclasses.replace` would be a second way to make one."""
    for path, tree in modules("edge_node"):
        assert "replace" not in imported(tree), path
        uses = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        names = {a.name for n in uses if n.module == "dataclasses" for a in n.names}
        assert "replace" not in names, f"{path} uses dataclasses.replace"


def test_raw_frames_stay_on_the_way_to_the_veil() -> None:
    for path, tree in modules("edge_node"):
        name = str(path.relative_to(ROOT))
        if name in MAY_HOLD_RAW_FRAMES or name.startswith("edge_node/capture/"):
            continue
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert "RawFrame" not in used, f"{name} touches raw frames"


def test_the_heart_is_pure() -> None:
    for package in PURE:
        for path, tree in modules(package):
            found = {name.split(".")[0] for name in imported(tree)} & IMPURE_MODULES
            assert not found, f"{path} imports {found}"


def test_nothing_is_pickled() -> None:
    for package in ALLOWED:
        for path, tree in modules(package):
            if path == ROOT / "vision" / "model_store.py":
                continue  # reads the detector's published weights through a closed allow-list
            found = {n.split(".")[0] for n in imported(tree)} & {"pickle", "dill", "cloudpickle"}
            assert not found, f"{path} imports {found}"

"""Imports go one way: a room imports rooms below it, never its equals, never upwards.

Read off the syntax trees, so that imports inside of functions count too.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "numpyro_score"
NAME = PACKAGE.name

ORDER = [
    {
        "types",
        "checks",
        "compilation",
        "conversion",
        "deprecation",
        "divergence",
        "hints",
        "progress",
    },
    {"fingerprint"},
    {
        "constants",
        "preconditioner",
        "step_size",
        "extras",
        "formats",
        "plugins",
        "bindings",
        "groups",
    },
    {"targets", "noise"},
    {"kernels", "adaptation"},
    {"scores", "samplers"},
    {"localization"},
    {"training"},
    {"learned", "distributions"},
    {"infer", "latent"},
    {"diagnostics", "amortised"},
    {"run", "report"},
    {"comparison", "calibration"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str, package: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Dotted names that a module of `package` imports, at any depth, as tuples."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            found |= {(*module, alias.name) for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    package = (NAME, *path.relative_to(PACKAGE).parent.parts)
    ours = {name for name in imports(path.read_text(), package) if name[0] == NAME}
    return {name[1] if len(name) > 1 else "(the package itself)" for name in ours}


def complaints(room: str, imported: set[str]) -> list[str]:
    """What is wrong with a room's imports, if anything."""
    wrong = []
    for other in sorted(imported - {room}):
        if other not in RANK:
            # `from numpyro_score import mala` runs the top of the package, which imports all
            wrong.append(f"{room} imports {other}, which is no room")
        elif RANK[other] == RANK[room]:
            wrong.append(f"{room} imports {other}, a room of the same rank")
        elif RANK[other] > RANK[room]:
            wrong.append(f"{room} imports {other}, a room above it")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the curated names, from everywhere
    if room == "__main__":
        room = "cli"
    assert room in RANK, f"{room} has no place in the order of rooms; give it one here"
    assert complaints(room, rooms_imported(path)) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpyro_score.run.sample", {"run"}),
        ("from numpyro_score import run", {"run"}),
        ("from numpyro_score.infer import MALA", {"infer"}),
        ("def f():\n    from numpyro_score.infer.markov import x", {"infer"}),
        ("from ..run import sample", {"run"}),
        ("from . import mala", {"kernels"}),
    ],
)
def test_the_walk_sees_every_form(source: str, expected: set[str]) -> None:
    assert {name[1] for name in imports(source, (NAME, "kernels"))} == expected


def test_upward_and_sideways_imports_are_seen() -> None:
    assert complaints("kernels", {"kernels", "targets", "types"}) == []
    assert len(complaints("kernels", {"run", "adaptation", "mala"})) == 3

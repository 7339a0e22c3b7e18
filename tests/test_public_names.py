"""Every public name is documented: what it takes, what it raises, whose it is, and an example.

The examples run as doctests with the rest of the suite. Public is what a room's `__all__` says.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from itertools import pairwise
from typing import Any, is_typeddict

import pytest
from blackjax import GenerateSamplingAPI

import numpyro_score

# Rooms of formulas. A formula has a source: in its docstring, or in that of its file.
MATHEMATICAL = (
    "numpyro_score.diagnostics.discrepancy",
    "numpyro_score.kernels",
    "numpyro_score.localization",
    "numpyro_score.noise",
    "numpyro_score.samplers",
    "numpyro_score.scores",
    "numpyro_score.training.losses",
)
SOURCE = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d+|\b(1[89]|20)\d\d\b")
DESCRIBED = ("Parameters", "Attributes", "Fields")


def rooms() -> list[str]:
    found = pkgutil.walk_packages(numpyro_score.__path__, "numpyro_score.")
    return ["numpyro_score", *(room.name for room in found if room.ispkg)]


def public() -> dict[str, Any]:
    """`room.name` -> object; what several rooms offer is the innermost one's."""
    found: dict[int, tuple[str, Any]] = {}
    for room in rooms():
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not inspect.ismodule(thing):
                found[id(thing)] = f"{room}.{name}", thing
    return dict(found.values())


def sections(doc: str) -> dict[str, str]:
    """The sections of a numpydoc docstring."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", doc, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(doc: str) -> set[str]:
    """Names that begin an entry of a section that describes them."""
    lines = "\n".join(sections(doc).get(name, "") for name in DESCRIBED).splitlines()
    heads = [line for line in lines if line and not line[0].isspace()]
    return {name.strip(" *`") for head in heads for name in head.split(":")[0].split(",")}


def required(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in kinds
        and parameter.name not in ("self", "cls")
    ]


def raises(thing: Any) -> bool:
    """Whether its own code raises: a function's body, or what makes an instance of a class."""
    bodies = [thing]
    if inspect.isclass(thing):
        bodies = [vars(thing).get(name) for name in ("__init__", "__check_init__", "__post_init__")]
    for body in bodies:
        code = getattr(inspect.unwrap(body), "__code__", None) if callable(body) else None
        if body is not thing and getattr(code, "co_filename", "") != inspect.getfile(thing):
            continue  # made by a decorator
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(body)))
        if any(isinstance(node, ast.Raise) for node in ast.walk(ast.parse(source))):
            return True
    return False


def lacking(room: str, thing: Any) -> list[str]:
    """What the documentation of a function or class lacks."""
    if isinstance(thing, GenerateSamplingAPI):
        thing = thing.differentiable
    doc = inspect.cleandoc(thing.__doc__ or "")
    if not doc:
        return ["a docstring"]
    wrong = []
    if is_typeddict(thing):
        names = [*thing.__required_keys__, *thing.__optional_keys__]
    else:
        names = [] if inspect.isabstract(thing) else required(inspect.signature(thing))
    if missing := [name for name in names if name not in described(doc)]:
        wrong.append(f"a description of {', '.join(missing)}")
    if raises(thing) and "Raises" not in sections(doc):
        wrong.append("a section Raises")
    beside = sys.modules[thing.__module__].__doc__ or ""
    if room.startswith(MATHEMATICAL) and not SOURCE.search(f"{doc}\n{beside}"):
        wrong.append("a source (author and year, arXiv, doi), here or in its module")
    if ">>>" not in doc:
        wrong.append("an example")
    return wrong


def is_alias(thing: Any) -> bool:
    """Constants and aliases of types, which have no docstring of their own at run time."""
    return not isinstance(thing, GenerateSamplingAPI) and not (
        inspect.isclass(thing) or inspect.isfunction(inspect.unwrap(thing))
    )


def documented_constants() -> set[str]:
    """Names that are assigned somewhere in the package with a string right below."""
    found = set()
    for module in list(sys.modules.values()):
        if not module.__name__.startswith("numpyro_score.") or not hasattr(module, "__file__"):
            continue
        body = ast.parse(inspect.getsource(module)).body
        for node, below in pairwise(body):
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found.add(node.target.id)
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    found.add(node.targets[0].id)
    return found


PUBLIC = public()


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if not is_alias(thing)])
def test_a_public_name_is_documented(name: str) -> None:
    wrong = lacking(name.rpartition(".")[0], PUBLIC[name])
    assert not wrong, f"{name} lacks {'; '.join(wrong)}"


def test_public_constants_are_documented() -> None:
    names = {name.rpartition(".")[2] for name, thing in PUBLIC.items() if is_alias(thing)}
    assert names <= documented_constants()


def test_what_is_lacking_is_seen() -> None:
    def bare(x, scale=1.0):
        return x * scale

    def told(x, scale=1.0):
        """Twice as much, as is well known.

        Parameters
        ----------
        scale
            A factor.
        """
        if scale < 0:
            raise ValueError("below 0")
        return x * scale

    def whole(x, y):
        """Product (Euclid 1895).

        Parameters
        ----------
        x, y
            Numbers.

        Raises
        ------
        ValueError
            Never, in truth.

        Examples
        --------
        >>> 2 * 3
        6
        """
        raise ValueError

    assert lacking("numpyro_score.noise", bare) == ["a docstring"]
    assert [wrong.split()[1] for wrong in lacking("numpyro_score.noise", told)] == [
        "description",
        "section",
        "source",
        "example",
    ]
    assert len(lacking("numpyro_score.run", told)) == 3
    assert lacking("numpyro_score.noise", whole) == []

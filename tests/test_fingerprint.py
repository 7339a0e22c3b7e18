"""Identity by value: what changes it, what does not, and that processes agree on it."""

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

from numpyro_score.fingerprint import describe, fingerprint

SHIFT = np.zeros(3)


def shifted(x):
    return x + SHIFT


def reads_a_global(x):
    return 2 * shifted(x)


def make(factor):
    def scaled(x):
        return factor * x

    return scaled


class Settings:
    def __init__(self, values):
        self.values = values
        self.lock = threading.Lock()
        self.owner = self


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


DIFFERENT = {
    "values": (np.zeros(3), np.array([0.0, 0.0, 1.0])),
    "types of numbers": (np.zeros(3, np.float32), np.zeros(3, np.int32)),
    "shapes": (np.zeros((2, 3)), np.zeros((3, 2))),
    "negative zero": (0.0, -0.0),
    "types": (1, 1.0),
    "words": ("a", b"a"),
    "structure": ([1, [2, 3]], [[1, 2], 3]),
    "lists and tuples": ([1, 2], (1, 2)),
    "dicts": ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
    "keys": (jax.random.key(0), jax.random.key(1)),
    "masks": (np.ma.array([1, 2], mask=[False, True]), np.ma.array([1, 2], mask=[False, False])),
    "text": (np.array(["a"]), np.array(["b"])),
    "objects in arrays": (np.array([{"a": 1}]), np.array([{"a": 2}])),
    "code": (lambda x: x + 1, lambda x: x + 2),
    "closures": (make(1.0), make(2.0)),
    "arrays in closures": (make(np.zeros(2)), make(np.ones(2))),
    "defaults": (lambda x=1: x, lambda x=2: x),
    "partials": (functools.partial(make, 1), functools.partial(make, 2)),
    "compiled functions": (jax.jit(make(1.0)), jax.jit(make(2.0))),
    "objects": (Settings([1, 2]), Settings([1, 3])),
    "slots": (Slotted(1), Slotted(2)),
    "distributions": (dist.Normal(2.0, 1.0), dist.Normal(1.0, 2.0)),
    "optimizers": (optax.adam(1e-3), optax.adam(2e-3)),
    "networks": tuple(eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(i)) for i in (0, 1)),
    "functions of packages": (jnp.exp, jnp.log),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_is_told_apart(kind):
    first, second = DIFFERENT[kind]
    assert fingerprint(first) == fingerprint(first)
    assert fingerprint(first) != fingerprint(second)


def test_equal_values_have_one_fingerprint():
    assert fingerprint(np.zeros(3)) == fingerprint(np.zeros(6)[::2])
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(make(1.0)) == fingerprint(make(1.0))
    assert fingerprint(Settings([1, 2])) == fingerprint(Settings([1, 2]))


def test_what_is_changed_in_place_is_seen(monkeypatch):
    array, container, owner = np.zeros(3), {"x": [1]}, Settings({1})
    closure = make(array)
    things = {
        "array": (array, lambda: array.__setitem__(0, 1.0)),
        "container": (container, lambda: container["x"].append(2)),
        "object": (owner, lambda: owner.values.add(2)),
        "closure": (closure, lambda: array.__setitem__(1, 1.0)),
        "global": (reads_a_global, lambda: SHIFT.__setitem__(0, 1.0)),
    }
    for name, (thing, change) in things.items():
        before = fingerprint(thing)
        change()
        assert fingerprint(thing) != before, name
    SHIFT[:] = 0.0


def test_a_function_that_was_defined_again_is_seen(monkeypatch):
    before = fingerprint(reads_a_global)
    monkeypatch.setattr(sys.modules[__name__], "shifted", make(3.0))
    assert fingerprint(reads_a_global) != before


def test_lines_and_docstrings_do_not_count():
    def define(text):
        space = {"__name__": "space"}
        exec(compile(text, "file.py", "exec"), space)
        return space["f"]

    plain = define('def f(x):\n    """One."""\n    return x + 1')
    moved = define('\n\n# words\ndef f(x):\n    """Two."""\n\n    return x + 1')
    other = define('def f(x):\n    """One."""\n    return x + 2')
    assert fingerprint(plain) == fingerprint(moved) != fingerprint(other)


def test_a_traced_array_counts_by_its_identity():
    found = []

    @jax.jit
    def look(x, y):
        found.append((fingerprint(x), fingerprint(x), fingerprint(y)))
        return x

    look(1.0, 2.0)
    assert found[0][0] == found[0][1] != found[0][2]


CHILD = """
import jax, numpy as np, numpyro.distributions as dist, optax, equinox as eqx, functools
import jax.numpy as jnp
from numpyro_score.fingerprint import fingerprint
def link(x, table={"a": 1, "b": 2}):
    return jnp.exp(x) if x in {"one", "two", "three"} else table
class Thing:
    def __init__(self):
        self.link, self.names, self.me = link, {"x", "y", "z"}, self
print(fingerprint(
    link, Thing(), functools.partial(link, 1), jax.jit(link), lambda x: x, jax.nn.relu,
    dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), optax.adam(1e-3),
    eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0)), np.random.default_rng(0),
))
"""


def test_processes_agree():
    found = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        env["PYTHONPATH"] = str(Path(__file__).parents[1])
        child = [sys.executable, "-c", CHILD]
        found.add(subprocess.run(child, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_words_for_a_setting():
    assert describe(None) is None
    assert describe("dense") == "dense"
    assert describe(jnp.exp).startswith("exp:")
    assert describe(np.zeros(2)).startswith("ndarray(2,):")
    assert describe(np.zeros(2)) != describe(np.ones(2))

"""What makes a run the run that it is: what is refused on resuming, and what is not."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import AIES, NUTS, BarkerMH, Gibbs

import numpyro_score as ns
from numpyro_score.constants import Constants
from numpyro_score.kernels.proposals import gaussian_random_walk
from numpyro_score.run.identity import differences, identity
from numpyro_score.run.layout import Layout
from numpyro_score.run.probes import PROBES, TOLERANCE, differing_probes
from numpyro_score.run.program import Program
from numpyro_score.run.start import init

KEY = jax.random.key(0)
NUM_CHAINS = 2
MANY = np.random.default_rng(0).normal(size=100_000)


def identify(kernel: Any, *args: Any, start: Any = None) -> dict[str, Any]:
    program = Program(kernel, Constants(kernel, args, {}), (), 1, Layout(NUM_CHAINS))
    state = init(program, jax.random.split(KEY, NUM_CHAINS), 0, start)
    steps = {"warmup": 0, "sampling": 1}
    kept = {"keep_warmup": True, "log_likelihood": False}
    return identity(program, state, KEY, steps, start, None, **kept)


def parabola(x: Any, centre: float = 0.0) -> Any:
    return 0.5 * jnp.sum((x - centre) ** 2)


def plain(scale: Any = 1.0) -> None:
    x = numpyro.sample("x", dist.Normal(0.0, scale))
    numpyro.deterministic("twice", 2 * x)


def with_prior(scale: float) -> Any:
    def model(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0.0, scale))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    return model


def with_derived(factor: float) -> Any:
    def model() -> None:
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.deterministic("derived", factor * x)

    return model


def mixture(shift: float) -> Any:
    def model() -> None:
        loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
        c = numpyro.sample("c", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
        numpyro.sample("y", dist.Normal(loc + shift * c, 1.0), obs=0.5)

    return model


class Link:
    """Without a `repr` of its own: the default one is an address."""

    def __init__(self, table: Any) -> None:
        self.table = np.asarray(table)

    def __call__(self, x: Any) -> Any:
        return x + self.table[0]


def linked(link: Any) -> None:
    numpyro.factor("f", -(link(numpyro.sample("x", dist.Normal(0.0, 1.0))) ** 2))


def listed(parts: Any) -> None:
    numpyro.sample("x", dist.Normal(sum(sum(part) for part in parts), 1.0))


START = jnp.zeros((NUM_CHAINS, 2))
MALA = ns.MALA
LONG = np.arange(2000.0)
CHANGED = np.concatenate([LONG[:1000], [0.0], LONG[1001:]])

DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "a potential": (
        lambda: identify(MALA(potential_fn=parabola), start=START),
        lambda: identify(MALA(potential_fn=partial(parabola, centre=3.0)), start=START),
        "log density at a fixed point was",
    ),
    "a log density": (
        lambda: identify(NUTS(potential_fn=parabola), start=START),
        lambda: identify(NUTS(potential_fn=lambda x: 2 * parabola(x)), start=START),
        "log density at a fixed point was",
    ),
    "a partial model": (
        lambda: identify(MALA(partial(plain, 1.0))),
        lambda: identify(MALA(partial(plain, 2.0))),
        "log density at a fixed point was",
    ),
    "a prior beside many data": (
        lambda: identify(MALA(with_prior(10.0)), MANY),
        lambda: identify(MALA(with_prior(11.0)), MANY),
        "log density of site mu at a fixed point was",
    ),
    "a derived quantity": (
        lambda: identify(NUTS(with_derived(2.0))),
        lambda: identify(NUTS(with_derived(3.0))),
        "site derived at a fixed point was",
    ),
    "a model with a sum": (
        lambda: identify(MALA(mixture(1.0))),
        lambda: identify(MALA(mixture(2.0))),
        "log density at a fixed point was",
    ),
    "a function among the arguments": (
        lambda: identify(MALA(linked), jnp.exp),
        lambda: identify(MALA(linked), jnp.tanh),
        "arguments of the model was",
    ),
    "an object of a long array": (
        lambda: identify(MALA(linked), Link(LONG)),
        lambda: identify(MALA(linked), Link(CHANGED)),
        "arguments of the model was",
    ),
    "structure": (
        lambda: identify(MALA(listed), [[1.0, 2.0], [3.0]]),
        lambda: identify(MALA(listed), [[1.0], [2.0, 3.0]]),
        "arguments of the model was",
    ),
    "a proposal": (
        lambda: identify(ns.MetropolisHastings(plain, proposal=gaussian_random_walk(0.5))),
        lambda: identify(ns.MetropolisHastings(plain, proposal=gaussian_random_walk(1.5))),
        "kernel was",
    ),
    "a setting of NumPyro's": (
        lambda: identify(NUTS(plain, inverse_mass_matrix=jnp.array([1.0]))),
        lambda: identify(NUTS(plain, inverse_mass_matrix=jnp.array([2.0]))),
        "kernel was",
    ),
    "a block of Gibbs": (
        lambda: identify(Gibbs([(NUTS(plain, step_size=0.5), ["x"])])),
        lambda: identify(Gibbs([(NUTS(plain, step_size=0.7), ["x"])])),
        "kernel was",
    ),
    "the model under an ensemble": (
        lambda: identify(AIES(partial(plain, 1.0))),
        lambda: identify(AIES(partial(plain, 2.0))),
        "log density at a fixed point was",
    ),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_another_run_is_told_apart(kind: str) -> None:
    make, make_other, named = DIFFERENT[kind]
    first = make()
    assert differences(first, make()) == []
    assert any(named in text for text in differences(first, make_other()))


@pytest.mark.parametrize("kernel", [MALA, NUTS, BarkerMH])
def test_a_function_that_is_defined_again_is_the_same(kernel: Any) -> None:
    def define() -> Any:
        def model(link: Any) -> None:
            linked(link)

        return model

    first = identify(kernel(define()), Link(LONG))
    assert differences(first, identify(kernel(define()), Link(LONG))) == []


def test_rounding_is_no_difference_and_more_is() -> None:
    first = identify(MALA(with_prior(10.0)), MANY[:50])
    eps = first[PROBES]["precision"]

    def moved(by: float) -> dict[str, Any]:
        values = {
            name: [[x * (1 + by) for x in row] for row in rows]
            for name, rows in first[PROBES]["values"].items()
        }
        return {**first[PROBES], "values": values}

    assert differing_probes(first[PROBES], moved(0.1 * TOLERANCE * eps)) == []
    assert differing_probes(first[PROBES], moved(10 * TOLERANCE * eps)) != []


def test_other_batches_agree_within_the_tolerance() -> None:
    """A sum over many data is added up in another order where more chains are mapped over."""
    start = {"mu": jnp.zeros(NUM_CHAINS)}
    kernel = MALA(with_prior(10.0))
    few, many = identify(kernel, MANY), identify(kernel, MANY, start=start)
    num_points = len(few[PROBES]["values"]["log density"])
    shared = {name: rows[:num_points] for name, rows in many[PROBES]["values"].items()}
    assert differing_probes(few[PROBES], {**many[PROBES], "values": shared}) == []


def test_a_store_of_an_earlier_version_is_named_as_such() -> None:
    known = identify(MALA(plain))
    old = {name: value for name, value in known.items() if name not in ("format", PROBES)}
    assert "written by another version" in differences(old, known)[0]


CHILD = """
import sys, jax, jax.numpy as jnp, numpyro, numpyro.distributions as dist, numpyro_score as ns
def link(x, names=frozenset({"a", "b", "c"})):
    return jnp.exp(x) if "a" in names else x
class Wrapped:
    def __init__(self, fn): self.fn = fn
    def __call__(self, x): return self.fn(x)
def model(link, prior):
    numpyro.factor("f", -link(numpyro.sample("x", prior)))
dt = ns.sample(ns.MALA(model), jax.random.key(0), num_warmup=20, num_samples=20, num_chains=2,
               progress=False, model_args=(Wrapped(link), dist.Normal(0.0, 1.0)),
               store=sys.argv[1], resume=True)
print(dt.attrs["complete"])
"""


@pytest.mark.slow
def test_functions_and_objects_are_known_again_in_another_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        child = [sys.executable, "-c", CHILD, str(tmp_path / "run.zarr")]
        done = subprocess.run(child, env=env, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "1", done.stderr

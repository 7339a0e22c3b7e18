"""The bounds of a model's sites, as a run records them."""

import json

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

import numpyro_score as ns
from numpyro_score.diagnostics.saturation import BOUNDS
from numpyro_score.run.bounds import site_bounds


def model() -> None:
    numpyro.sample("unit", dist.Beta(jnp.ones(3), 1.0).to_event(1))
    numpyro.sample("parts", dist.Dirichlet(jnp.ones(3)))
    numpyro.sample("between", dist.Uniform(2.0, 3.0))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    # bounds that are not known before the model runs, or differ, and sites that are no parameters
    numpyro.sample("moving", dist.Uniform(0.0, scale))
    numpyro.sample("several", dist.Uniform(0.0, jnp.array([1.0, 2.0])).to_event(1))
    numpyro.sample("real", dist.Normal(0.0, 1.0))
    numpyro.sample("seen", dist.Beta(1.0, 1.0), obs=0.5)
    numpyro.deterministic("certain", jnp.ones(()))


def test_two_finite_bounds_known_beforehand() -> None:
    expected = {"unit": [0.0, 1.0], "parts": [0.0, 1.0], "between": [2.0, 3.0]}
    assert json.loads(site_bounds(model, (), {})[BOUNDS]) == expected


def test_a_run_records_them() -> None:
    lengths = {"num_warmup": 20, "num_samples": 20, "num_chains": 4}
    bounded = ns.MALA(lambda: numpyro.sample("p", dist.Beta(2.0, 2.0)))
    dt = ns.sample(bounded, jax.random.key(0), progress=False, **lengths)  # type: ignore[arg-type]
    assert json.loads(dt.attrs[BOUNDS]) == {"p": [0.0, 1.0]}
    assert site_bounds(lambda: numpyro.sample("x", dist.Normal(0.0, 1.0)), (), {}) == {}

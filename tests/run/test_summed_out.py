"""Deterministic sites that depend on what is summed out."""

import warnings

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.funsor import config_enumerate

from numpyro_score.run.summed_out import of_summed_out, warn_of_summed_out


def model() -> None:
    w = numpyro.sample("w", dist.Beta(1.0, 1.0))
    with numpyro.plate("n", 3):
        z = numpyro.sample("z", dist.Bernoulli(w))
        numpyro.deterministic("twice", 2 * z)
        numpyro.sample("y", dist.Normal(z, 1.0), obs=jnp.ones(3))
    numpyro.deterministic("odds", w / (1 - w))


def test_sites_with_a_value_for_every_value_of_a_discrete_one() -> None:
    shapes = {"w": (), "twice": (2, 1), "odds": ()}
    assert of_summed_out(config_enumerate(model), (), {}, shapes) == ["twice"]
    with pytest.warns(UserWarning, match=r"twice depends on .* summed out.*infer_discrete"):
        warn_of_summed_out(config_enumerate(model), (), {}, shapes)


def test_others_are_draws() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_summed_out(model, (), {}, {"w": (), "odds": ()})

"""Simulated data in a model: of the observed shape, and in place of the observed values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density

from numpyro_score.targets.simulated import (
    WithData,
    WithReplicate,
    data_sites,
    joint_log_densities,
    simulate,
)

KEY = jax.random.key(0)


def model(y: Any, z: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    numpyro.deterministic("twice", 2 * mean)
    # many values of one distribution, without a plate
    numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)
    with numpyro.plate("rows", 2):
        numpyro.sample("z", dist.Normal(mean, 2.0).expand([3]).to_event(1), obs=z)
    numpyro.factor("more", -(mean**2))


ARGS = (jnp.zeros(4), jnp.zeros((2, 3)))


def test_data_have_the_observed_shape_and_are_drawn_anew() -> None:
    names = data_sites(model, ARGS, {})
    assert names == ("y", "z")
    truth, data = simulate(model, names, KEY, ARGS, {})
    assert sorted(truth) == ["mean", "twice"]
    assert data["y"].shape == (4,)
    assert data["z"].shape == (2, 3)
    assert len(np.unique(data["y"])) == 4
    given = simulate(model, names, KEY, ARGS, {}, {"mean": jnp.array(100.0)})
    assert given.data["y"].min() > 90


def test_the_model_with_data_is_that_of_the_data() -> None:
    truth, data = simulate(model, ("y", "z"), KEY, ARGS, {})
    at = {"mean": truth["mean"]}
    bound = log_density(WithData(model, ("y", "z"), data), ARGS, {}, at)[0]
    expected = log_density(model, (data["y"], data["z"]), {}, at)[0]
    np.testing.assert_allclose(bound, expected, rtol=1e-5)
    parts = joint_log_densities(model, ("y", "z"), data, at, ARGS, {})
    np.testing.assert_allclose(sum(parts.values()), expected, rtol=1e-5)
    both = log_density(WithReplicate(model, data), ARGS, {}, at)[0]
    own = log_density(model, ARGS, {}, at)[0]
    prior = dist.Normal(0.0, 1.0).log_prob(truth["mean"]) - truth["mean"] ** 2
    np.testing.assert_allclose(both, own + expected - prior, rtol=1e-4)

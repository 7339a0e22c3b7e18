"""`LearnedConditional`: the density given a condition, and its derivative in the condition."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density

from numpyro_score.distributions import LearnedConditional, LearnedDistribution
from numpyro_score.distributions.conditional_flow import ConditionalFlow, regress
from numpyro_score.noise import VE
from numpyro_score.samplers.proposals import flow_proposal

NOISE = VE(sigma_min=0.01, sigma_max=10.0)
KEY = jax.random.key(0)


class Bent(eqx.Module):
    """The score of `N(y^2, 1)` numbers, for every condition y."""

    def __call__(self, x: Any, t: Any, y: Any = None) -> Any:
        mean = 0.0 if y is None else y**2
        return -(x - mean) / (1.0 + NOISE.variance(t))


def likelihood(slope: float = 0.5, num_steps: int = 8) -> LearnedConditional:
    """Of `y ~ N(.5 c + c^2, s^2)` with c the standardised condition; s is known."""
    flow = flow_proposal(Bent(), NOISE, 1, num_steps=num_steps, weight=0.0)
    mean, sd = jnp.array([1.0]), jnp.array([2.0])
    return LearnedConditional(ConditionalFlow(flow, mean, sd, jnp.array([[slope]])))


def expected(condition: Any, value: Any) -> Any:
    """The map's density in closed form: each of its steps moves a Gaussian to a Gaussian."""
    learned: Any = likelihood().flow.flow.learned
    tau = np.asarray(NOISE.ratio(learned.times), np.float64)
    r = np.asarray(learned.ratios, np.float64)
    keep = r + (1 - r) / (1 + tau**2)
    pull = (1 - r) * tau**2 / (1 + tau**2)
    c = (condition[..., 0] - 1.0) / 2.0
    shift, scale = 0.0 * c, float(learned.start_sd[0])
    for k, p in zip(keep, pull, strict=True):
        shift, scale = k * shift + p * c**2, k * scale
    return dist.Normal(0.5 * c + shift, scale).log_prob(value[..., 0])


def test_the_density_is_that_of_the_map_at_its_condition() -> None:
    conditions = jnp.linspace(-2.0, 3.0, 7)[:, None]
    at = likelihood()(conditions)
    assert (at.batch_shape, at.event_shape) == ((7,), (1,))
    y = at.sample(KEY, (4,))
    assert y.shape == (4, 7, 1)
    found = at.log_prob(y)
    np.testing.assert_allclose(found, expected(conditions, y), atol=1e-3)
    one = likelihood()(conditions[2]).log_prob(y[:, 2])
    np.testing.assert_allclose(one, found[:, 2], atol=1e-3)
    # one value at many conditions
    assert at.log_prob(y[0, 0]).shape == (7,)


def test_it_is_differentiable_in_the_condition(x64: None) -> None:
    y, theta, step = jnp.array([0.7]), jnp.array([0.3]), 1e-5

    def of(theta: Any) -> Any:
        return likelihood()(theta).log_prob(y)

    gradient = jax.grad(of)(theta)
    assert abs(gradient[0] - (of(theta + step) - of(theta - step)) / (2 * step)) < 1e-6


def test_in_a_hierarchical_model_with_rows() -> None:
    learned = likelihood()

    def model(y: Any, group: Any) -> None:
        with numpyro.plate("groups", 2):
            theta = numpyro.sample("theta", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", learned(theta[group][:, None]), obs=y)

    group = np.array([0, 0, 1, 1, 1])
    y, theta = jnp.linspace(0.0, 1.0, 5)[:, None], jnp.array([0.2, -0.4])
    found = log_density(model, (y, group), {}, {"theta": theta})[0]
    prior = dist.Normal(0.0, 1.0).log_prob(theta).sum()
    np.testing.assert_allclose(found - prior, expected(theta[group][:, None], y).sum(), atol=1e-3)


def test_what_is_linear_is_regressed() -> None:
    rng = np.random.default_rng(0)
    y = np.column_stack([rng.normal(3.0, 2.0, 1000), np.full(1000, 7.0)])
    points = 1.5 * y[:, :1] + rng.normal(size=(1000, 1))
    mean, sd, slope, standard = regress(points, y)
    np.testing.assert_allclose(mean, [3.0, 7.0], atol=0.3)
    np.testing.assert_allclose(slope, [[3.0, 0.0]], atol=0.2)
    assert sd[1] == 1.0
    assert not standard[:, 1].any()


def test_learned_saved_and_loaded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(2000, 1))
    y = theta**2 + 0.5 * rng.normal(size=(2000, 1))
    learned = LearnedConditional.fit(
        y, theta, rng_key=KEY, num_steps=500, num_flow_steps=8, progress=False
    )
    draws = learned(jnp.array([1.5])).sample(KEY, (500,))
    assert abs(float(draws.mean()) - 2.25) < 0.5
    assert float(draws.std()) < 1.0
    loaded = LearnedConditional.load(learned.save(tmp_path / "likelihood.score"))
    np.testing.assert_array_equal(
        loaded(jnp.array([1.5])).log_prob(draws[:3]), learned(jnp.array([1.5])).log_prob(draws[:3])
    )


def test_bad_conditions_are_refused() -> None:
    with pytest.raises(ValueError, match="conditions of length 1 were learned from"):
        likelihood()(jnp.zeros(3))
    with pytest.raises(ValueError, match="finite vectors"):
        LearnedConditional.fit(np.zeros((9, 1)), np.zeros((8, 1)), rng_key=KEY, progress=False)
    with pytest.raises(ValueError, match="a flow that takes a condition needs one"):
        LearnedDistribution(likelihood().flow)

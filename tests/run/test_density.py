"""Draws back in unconstrained coordinates."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import NUTS, SA

import numpyro_score as ns
from numpyro_score.run.density import density_of
from numpyro_score.run.plan import Plan, make_plan

KEY = jax.random.key(0)


def plan_of(kernel: object) -> Plan:
    rest = dict.fromkeys(
        ("until", "init_params", "num_superchains", "store", "chain_batch_size", "mesh")
    )
    options = {"num_warmup": 1, "num_samples": 1, "num_chains": 2, "thinning": 1} | rest
    given = {"model_args": (), "model_kwargs": None, "keep_warmup": True, "resume": False}
    return make_plan(kernel, KEY, **options, **given)  # type: ignore[arg-type]


def test_sites_become_positions_with_their_log_densities() -> None:
    def model() -> None:
        scale = numpyro.sample("scale", dist.Exponential(1.0))
        numpyro.deterministic("twice", 2 * scale)
        numpyro.sample("a", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    plan = plan_of(ns.MALA(model))
    state = plan.kernel.init(jax.random.split(KEY, 2), 1, None, (), {})
    draws = {"a": np.arange(40.0, dtype=np.float32).reshape(2, 10, 2) / 40}
    draws |= {"scale": np.full((2, 10), 0.5, np.float32), "twice": np.ones((2, 10), np.float32)}
    density = density_of(plan, state)
    assert density is not None
    found = density.positions(draws, 4)
    assert found.points.shape == (2, 4, 3)
    # the first, the last and those between, in the order of the sites' names
    np.testing.assert_allclose(found.points[..., :2], draws["a"][:, [0, 3, 6, 9]])
    np.testing.assert_allclose(found.points[..., 2], np.log(0.5), rtol=1e-6)
    expected = -0.5 + np.log(0.5) - np.log(2 * np.pi) - 0.5 * (found.points[..., :2] ** 2).sum(-1)
    np.testing.assert_allclose(found.logdensity, expected, rtol=1e-5)
    # all that there are
    assert density.positions(draws, 99).points.shape == (2, 10, 3)


def test_without_a_model_draws_are_positions() -> None:
    plan = plan_of(ns.MALA(logdensity_fn=lambda x: -jnp.sum(x**4)))
    state = plan.kernel.init(jax.random.split(KEY, 2), 1, jnp.zeros((2, 3)), (), {})
    density = density_of(plan, state)
    assert density is not None
    found = density.positions(np.ones((2, 5, 3), np.float32), 5)
    np.testing.assert_array_equal(found.points, 1.0)
    np.testing.assert_array_equal(found.logdensity, -3.0)


def test_nuts_of_numpyro_and_other_kernels() -> None:
    def model() -> None:
        numpyro.sample("x", dist.Exponential(1.0))

    z = {"x": jnp.zeros(2)}
    state = SimpleNamespace(z=z)
    density = density_of(plan_of(NUTS(model)), state)
    assert density is not None
    # x = exp(z), with its Jacobian
    assert float(density.logdensity_fn({"x": jnp.log(2.0)})) == pytest.approx(-2 + np.log(2))
    density = density_of(plan_of(NUTS(potential_fn=lambda z: jnp.sum(z["x"] ** 2))), state)
    assert density is not None
    assert float(density.logdensity_fn({"x": jnp.array(3.0)})) == -9.0
    assert density_of(plan_of(SA(model)), state) is None

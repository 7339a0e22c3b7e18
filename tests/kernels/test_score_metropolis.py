"""Accepting by a score alone: as good as MALA for a gradient, biased for a field that is none."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.kernels import mala, score_metropolis
from numpyro_score.kernels.score_metropolis import line_integral
from numpyro_score.targets import gumbel

NUM_CHAINS, SIGMAS = 20_000, 4.0
TARGET = gumbel(dim=2)


# a Gaussian's score with a shear: no gradient; its diffusion has variances 1.5 and 1
SHEAR = jnp.array([[-1.0, 1.0], [0.0, -1.0]])
DIFFUSION = np.array([[1.5, 0.5], [0.5, 1.0]])


def test_quadrature_is_exact_for_polynomials_and_converges() -> None:
    start, end = jnp.array([0.3, -1.0]), jnp.array([1.1, 0.4])
    cubic = line_integral(lambda x: x**3, start, end, 2)
    np.testing.assert_allclose(cubic, jnp.sum(end**4 - start**4) / 4, rtol=1e-5)
    exact = TARGET.logdensity_fn(end) - TARGET.logdensity_fn(start)
    score = jax.grad(TARGET.logdensity_fn)
    errors = [abs(float(line_integral(score, start, end, n) - exact)) for n in (1, 2, 4)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2] or errors[2] < 1e-6


def test_it_is_mala_for_a_gradient() -> None:
    score = jax.grad(TARGET.logdensity_fn)
    x = jnp.array([0.5, -0.2])
    ours, theirs = score_metropolis(score, 0.4), mala(TARGET.logdensity_fn, 0.4)
    mine, others = ours.init(x), theirs.init(x)
    for key in jax.random.split(jax.random.key(0), 20):
        mine, info = ours.step(key, mine)
        others, known = theirs.step(key, others)
        np.testing.assert_allclose(mine.position, others.position, atol=1e-5)
        np.testing.assert_allclose(info.acceptance_rate, known.acceptance_rate, atol=1e-4)
    # the log density counts from the start
    gain = TARGET.logdensity_fn(mine.position) - TARGET.logdensity_fn(x)
    np.testing.assert_allclose(mine.logdensity, gain, atol=1e-4)


def test_exact_draws_stay_exact_for_a_gradient(run_chains: Any) -> None:
    start = TARGET.sample(jax.random.key(1), NUM_CHAINS)["x"]
    run = run_chains(score_metropolis(jax.grad(TARGET.logdensity_fn), 0.3), 2, start, 10)
    for known in TARGET.expectations:
        values = np.asarray(known.fn({"x": np.asarray(run.final.position)[None]}))[0]
        z = (values.mean(axis=0) - known.truth) / (known.sd / np.sqrt(NUM_CHAINS))
        assert np.abs(z).max() < SIGMAS
    assert run.info.is_accepted.mean() > 0.5


def test_a_field_that_is_no_gradient_biases_as_is_said(run_chains: Any) -> None:
    normal = jax.random.normal(jax.random.key(3), (NUM_CHAINS, 2))
    start = normal @ jnp.asarray(np.linalg.cholesky(DIFFUSION).T, jnp.float32)
    run = run_chains(score_metropolis(lambda x: SHEAR @ x, 0.5), 4, start, 40)
    found = np.asarray(run.final.position).var(axis=0)
    errors = found * np.sqrt(2 / NUM_CHAINS)
    assert (np.abs(found - [1.60, 0.92]) < SIGMAS * errors + 0.005).all()
    assert (np.abs(found - np.diag(DIFFUSION)) > SIGMAS * errors).all()


def test_no_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_nodes is 0"):
        score_metropolis(lambda x: -x, 0.1, num_nodes=0)

"""Contrastive divergence, persistent chains and likelihood, where all is known: Gaussians."""

from typing import Any

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.kernels import mala, random_walk, ula
from numpyro_score.training.losses import (
    ContrastiveDivergence,
    MaximumLikelihood,
    PersistentContrastiveDivergence,
)
from numpyro_score.training.losses.negative_phase import Chains

MEAN, SD = 1.0, 0.6
"""Of the data."""

LIMIT = 4.0
BATCHES, BATCH = 40, 1000


def data(rng_key: Any, num: int = BATCH) -> Any:
    return MEAN + SD * jax.random.normal(rng_key, (num, 1))


def standard(gaussian_energy: Any) -> Any:
    """The model: N(0, 1)."""
    return gaussian_energy(jnp.zeros(1), jnp.zeros(()))


TRUE_GRADIENT = np.array([-MEAN, 1 - (MEAN**2 + SD**2)])
"""Of minus the mean log likelihood of the data in the mean and log sd of N(0, 1)."""


def off(gradients: Any) -> Any:
    """Standard errors between the mean of gradients `(batch, 2)` and the truth."""
    gradients = np.asarray(gradients, float)
    error = gradients.std(axis=0, ddof=1) / np.sqrt(len(gradients))
    return np.abs(gradients.mean(axis=0) - TRUE_GRADIENT) / error


def as_row(gradient: Any) -> Any:
    return jnp.append(gradient.mean, gradient.log_sd)


def gradients(loss: Any, model: Any) -> Any:
    @jax.jit
    def one(rng_key: Any) -> Any:
        key_data, key_loss = jax.random.split(rng_key)
        return as_row(eqx.filter_grad(loss)(model, data(key_data), key_loss))

    return jax.lax.map(one, jax.random.split(jax.random.key(0), BATCHES))


KERNELS: dict[str, Any] = {
    "mala": (mala, {"step_size": 0.6}, 40),
    "random walk": (random_walk, {"step_size": 1.5}, 60),
    "hmc": (
        blackjax.hmc,
        {"step_size": 0.5, "inverse_mass_matrix": np.ones(1), "num_integration_steps": 3},
        12,
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_gradient_becomes_that_of_the_likelihood(gaussian_energy: Any, name: str) -> None:
    kernel, parameters, num_steps = KERNELS[name]
    model = standard(gaussian_energy)
    assert (
        off(gradients(ContrastiveDivergence(kernel, parameters, num_steps), model)) < LIMIT
    ).all()
    # one step from the data is not enough
    short = off(gradients(ContrastiveDivergence(kernel, parameters, 1), model))
    assert short[0] > 2 * LIMIT


def test_gradient_of_likelihood_from_far_away(gaussian_energy: Any) -> None:
    loss = MaximumLikelihood(mala, {"step_size": 0.6}, 40)
    assert (off(gradients(loss, standard(gaussian_energy))) < LIMIT).all()


def test_gradient_of_persistent_chains(gaussian_energy: Any) -> None:
    """One step a time, once the chains have found the model's distribution."""
    loss = PersistentContrastiveDivergence(mala, {"step_size": 0.6}, 1)
    model = standard(gaussian_energy)

    @jax.jit
    def run(rng_key: Any) -> Any:
        key_start, key_run = jax.random.split(rng_key)

        def step(state: Any, rng_key: Any) -> Any:
            key_data, key_loss = jax.random.split(rng_key)

            def value(model: Any) -> Any:
                return loss.update(model, data(key_data), key_loss, state)

            gradient, state = eqx.filter_grad(value, has_aux=True)(model)
            return state, as_row(gradient)

        state = loss.init(model, data(key_start), key_start)
        return jax.lax.scan(step, state, jax.random.split(key_run, 40))[1]

    rows = jax.lax.map(run, jax.random.split(jax.random.key(0), BATCHES))
    assert (off(rows[:, -1]) < LIMIT).all()
    assert off(rows[:, 0])[0] > 2 * LIMIT


def test_chains_that_restart_always_are_contrastive_divergence(gaussian_energy: Any) -> None:
    model, parameters = standard(gaussian_energy), {"step_size": 0.6}
    loss = PersistentContrastiveDivergence(mala, parameters, 1, restart_rate=1.0)
    far = jnp.full((BATCH, 1), 50.0)
    _, particles = eqx.filter_jit(loss.update)(model, data(KEY), KEY, far)
    assert jnp.abs(particles).max() < 10


KEY = jax.random.key(7)


def test_the_penalty_pulls_energies_to_zero(gaussian_energy: Any) -> None:
    model = standard(gaussian_energy)
    plain, held = (
        ContrastiveDivergence(mala, {"step_size": 0.1}, 1, penalty)(model, data(KEY), KEY)
        for penalty in (0.0, 0.5)
    )
    assert held > plain


def kl(mean: Any, variance: Any, other: Any) -> Any:
    """`KL(N(m, v) || N(0, w))` on the line."""
    ratio = variance / other
    return (ratio + mean**2 / other - 1 - np.log(ratio)) / 2


EPS = 0.3
STATIONARY = 1 / (1 - EPS / 2)
"""Variance of the distribution that ULA of step `EPS` leaves invariant on N(0, 1)."""


def after(num_steps: int, mean: float, variance: float) -> tuple[float, float]:
    """Moments of a Gaussian after so many steps of ULA on N(0, 1): `x' = (1 - eps) x + noise`."""
    shrink = (1 - EPS) ** num_steps
    return shrink * mean, STATIONARY + shrink**2 * (variance - STATIONARY)


def divergence(num_steps: int, mean: float, variance: float) -> float:
    """`CD_t = KL(p_0 || p) - KL(p_t || p)`, p the distribution that the kernel leaves invariant."""
    return kl(mean, variance, STATIONARY) - kl(*after(num_steps, mean, variance), STATIONARY)


@pytest.mark.parametrize("mean", [0.0, 0.5, -3.0])
@pytest.mark.parametrize("variance", [0.05, 1.0, STATIONARY, 9.0])
def test_contrastive_divergence_itself(mean: float, variance: float) -> None:
    values = [divergence(t, mean, variance) for t in range(60)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert min(values) >= -1e-12
    assert min(np.diff(values)) >= -1e-12  # each step forgets
    assert values[-1] == pytest.approx(kl(mean, variance, STATIONARY), rel=1e-6, abs=1e-9)
    if mean == 0 and variance == STATIONARY:
        assert max(values) < 1e-12
    else:
        assert values[1] > 0


def test_chains_have_the_distributions_that_the_divergence_is_computed_from(
    gaussian_energy: Any,
) -> None:
    model, num = standard(gaussian_energy), 200_000
    start = MEAN + SD * jax.random.normal(jax.random.key(0), (num, 1))
    for num_steps in (1, 4):
        chains = Chains(ula, {"step_size": EPS}, num_steps)
        ends = np.asarray(eqx.filter_jit(chains.run)(model, start, jax.random.key(1)), float)
        mean, variance = after(num_steps, MEAN, SD**2)
        assert abs(ends.mean() - mean) < LIMIT * np.sqrt(variance / num)
        assert abs(ends.var() - variance) < LIMIT * variance * np.sqrt(2 / num)
        # another number of steps has another distribution
        mean, _ = after(num_steps + 1, MEAN, SD**2)
        assert abs(ends.mean() - mean) > 3 * LIMIT * np.sqrt(variance / num)


def test_no_gradient_passes_through_the_chains(gaussian_energy: Any) -> None:
    """The start of the chains, which is the data, and the model that moves them are held."""
    chains = Chains(ula, {"step_size": EPS}, 2)

    def ends(model: Any, start: Any) -> Any:
        return jnp.sum(chains.run(model, start, KEY))

    model = standard(gaussian_energy)
    by_model, by_start = jax.grad(ends, argnums=(0, 1))(model, data(KEY, 5))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves((by_model, by_start)))

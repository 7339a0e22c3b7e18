"""Exploration finds and weighs modes that annealing alone loses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

from numpyro_score.kernels.proposals import from_distribution
from numpyro_score.kernels.tempered_smc import TemperedParticles, tempered_smc
from numpyro_score.learned.explore_regions import (
    Explored,
    Found,
    _share_errors,
    anneal_regions,
    find_modes,
)
from numpyro_score.learned.regions import find_regions, shares

DIM, NUM, SD = 16, 2048, 0.3
WEIGHTS = np.array([0.7, 0.3])
CENTERS = np.outer([0.0, 2.0], np.ones(DIM))


def logdensity(x: Any) -> Any:
    """Two narrow modes eight apart, of integral 1."""
    away = jnp.sum((x[None] - CENTERS) ** 2, axis=1) / (2 * SD**2)
    constant = DIM * np.log(SD * np.sqrt(2 * np.pi))
    return jax.nn.logsumexp(jnp.log(jnp.asarray(WEIGHTS)) - away) - constant


# about the first mode alone
REFERENCE = from_distribution(dist.Normal(jnp.zeros(DIM), 0.6).to_event(1))


def near_second(x: Any) -> Any:
    return np.asarray(x).mean(axis=1) > 1.0


@pytest.fixture(scope="module")
def found() -> Found:
    return find_modes(logdensity, REFERENCE, jax.random.key(0), NUM)


@pytest.fixture(scope="module")
def explored(found: Found) -> Explored:
    return anneal_regions(logdensity, found, jax.random.key(1), NUM)


def test_both_modes_are_found_and_weighed(found: Found, explored: Explored) -> None:
    assert found.regions.num == 2
    for half in np.split(np.asarray(explored.particles), 2):
        # the stages are correlated: some fifth of the particles counts
        error = np.sqrt(WEIGHTS.prod() / (NUM / 2 / 5))
        assert abs(near_second(half).mean() - WEIGHTS[1]) < 4 * error
        center = half[near_second(half)].mean(axis=0)
        np.testing.assert_allclose(center, 2.0, atol=5 * SD / np.sqrt(0.3 * NUM / 10))


def test_annealing_alone_loses_the_second(found: Found) -> None:
    lost = tempered_smc(logdensity, REFERENCE, jax.random.key(1), NUM // 4)
    assert lost.inverse_temperature == 1
    assert near_second(lost.particles).mean() < 0.01
    # and does not know: the evidence is that of the first mode, with a small error
    assert abs(lost.log_evidence - np.log(WEIGHTS[0])) < 0.15
    annealed, near, far = found.counts
    assert (near + far)[:2].min() > 10
    assert annealed[:2].min() < 0.01 * annealed.sum()


def test_evidence_of_both_halves(found: Found, explored: Explored) -> None:
    away = explored.log_evidences / explored.log_evidence_errors
    assert np.abs(away).max() < 4.5
    assert explored.log_evidence_errors.max() < 0.1
    assert found.num_grad > 10 * NUM / 2
    assert explored.num_grad > 10 * NUM


def test_a_target_that_cannot_be_reached_is_refused() -> None:
    def nowhere(x: Any) -> Any:
        return jnp.nan * jnp.sum(x)

    with pytest.raises(ValueError, match="Give reference="):
        find_modes(nowhere, from_distribution(dist.Normal(jnp.zeros(2), 1.0).to_event(1)), KEY, 64)


KEY = jax.random.key(0)


def test_regions_of_separated_gaussians() -> None:
    """A region of one in a hundred is found, and the mixture is near the density."""
    rng, dim = np.random.default_rng(0), 40
    is_rare = np.arange(1500) % 100 == 0
    x = rng.normal(size=(1500, dim)) + np.where(is_rare, 5.0, 0.0)[:, None]
    gradients = -(x - np.where(is_rare, 5.0, 0.0)[:, None])
    logs = [multivariate_normal(np.full(dim, m)).logpdf(x) for m in (0.0, 5.0)]
    logdensity = np.logaddexp(np.log(0.5) + logs[0], np.log(0.5) + logs[1])
    regions = find_regions(x, logdensity, gradients)
    assert regions.num == 2
    np.testing.assert_allclose(
        shares(regions.mixture, jnp.asarray(x, jnp.float32)), [0.99, 0.01, 0], atol=0.008
    )
    weights = np.exp(np.asarray(regions.mixture.log_weights))
    # a quarter each whatever the masses, which a region of 15 points tells roughly
    assert weights[:2].min() > 0.2
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)


@pytest.mark.parametrize("num", [3, 200])
def test_one_region_is_a_wide_gaussian(num: int) -> None:
    x = np.random.default_rng(0).normal(size=(num, 2))
    regions = find_regions(x, -(x**2).sum(axis=1) / 2, -x)
    mixture = regions.mixture
    found = mixture.log_prob(jnp.zeros(2))
    covariances = np.einsum("kij,klj->kil", mixture.factors, mixture.factors)
    expected = sum(
        np.exp(log_weight) * multivariate_normal(mean, covariance).pdf(np.zeros(2))
        for log_weight, mean, covariance in zip(
            mixture.log_weights, np.asarray(mixture.means), covariances, strict=True
        )
    )
    np.testing.assert_allclose(found, np.log(expected), rtol=1e-4)
    with pytest.raises(ValueError, match=r"do not differ in coordinates \[1\]"):
        find_regions(x * [1.0, 0.0], np.zeros(num), x)


def test_ancestors_say_how_far_a_share_can_be_trusted() -> None:
    """Two halves of two modes that annealing cannot move between: one family is one draw."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(300, 2)), 9 + rng.normal(size=(100, 2))])
    center = np.where(np.arange(400) < 300, 0.0, 9.0)[:, None]
    regions = find_regions(x, -((x - center) ** 2).sum(axis=1) / 2, center - x)
    none: Any = None

    def error(ancestors: Any) -> Any:
        particles = jnp.asarray(x, jnp.float32)
        fields = dict.fromkeys(TemperedParticles._fields, none)
        fields |= {"particles": particles, "ancestors": jnp.asarray(ancestors)}
        found = TemperedParticles(**fields)
        return _share_errors(regions, found)[:2]

    independent = np.sqrt(0.75 * 0.25 / 400)
    np.testing.assert_allclose(error(np.arange(400)), independent, rtol=0.02)
    # families of ten within a mode
    np.testing.assert_allclose(error(np.arange(400) // 10), independent * np.sqrt(10), rtol=0.02)


def test_modes_beyond_the_listed_regions_widen_the_mixture() -> None:
    """Of 64 modes of a product most have too few particles for a cluster."""
    rng, dim = np.random.default_rng(0), 6
    signs = np.where(rng.random((500, dim)) < 0.8, 1.0, -1.0)
    x = 8 * signs + rng.normal(size=(500, dim))
    regions = find_regions(x, np.zeros(500), 8 * signs - x)
    assert 10 < regions.num < 64
    assert np.exp(regions.mixture.log_weights[-1]) == pytest.approx(0.9, abs=1e-4)
    # as many draws of two modes
    signs[:, 1:] = 1.0
    y = 8 * signs + rng.normal(size=(500, dim))
    listed = find_regions(y, np.zeros(500), 8 * signs - y)
    assert listed.num == 2
    assert np.exp(listed.mixture.log_weights[-1]) < 0.5

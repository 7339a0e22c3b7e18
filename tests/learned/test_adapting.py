"""The mixture that is adapted by importance sampling: what it mends, what it forgets and tells."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.learned.adapting import SUFFICIENT, adapt_mixture
from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.regions import find_regions
from numpyro_score.learned.rounds import Learned
from numpyro_score.learned.units import units_of
from numpyro_score.learned.weighted import suffices

DIM, NUM = 4, 1024
WEIGHTS = np.array([0.8, 0.2])
MEANS = np.stack([np.zeros(DIM), np.full(DIM, 8.0)])
SDS = np.array([[1.0, 0.5, 1.0, 2.0], [0.5, 1.0, 1.0, 1.0]])


def two_modes(x: Any) -> Any:
    """Log of an integral of 5."""
    z = (x - MEANS) / SDS
    terms = jnp.log(WEIGHTS) - jnp.sum(z**2, axis=1) / 2 - np.log(SDS).sum(axis=1)
    return jax.nn.logsumexp(terms) - DIM / 2 * np.log(2 * np.pi) + np.log(5.0)


def ring(x: Any) -> Any:
    """A thin shell, which one Gaussian does not follow."""
    return -0.5 * ((jnp.linalg.norm(x) - 5.0) / 0.05) ** 2


def draws(share: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    which = (np.arange(NUM) >= share * NUM).astype(int)
    return MEANS[which] + SDS[which] * rng.normal(size=(NUM, DIM))


def learn(logdensity_fn: Any, x: np.ndarray) -> Learned:
    particles = jnp.asarray(x, jnp.float32)
    logdensity, gradients = (np.asarray(a) for a in evaluate(logdensity_fn, particles))
    regions = find_regions(np.asarray(particles), logdensity, gradients)
    none: Any = None
    modes = Found(np.asarray(particles), logdensity, regions, none, none, 0, 0)
    return adapt_mixture(logdensity_fn, modes, particles, jax.random.key(0), NUM)


@pytest.fixture(scope="module")
def learned() -> Learned:
    """From particles that give both modes the same weight, for .8 and .2."""
    return learn(two_modes, draws(0.5))


def test_wrong_weights_of_modes_are_mended(learned: Learned) -> None:
    assert suffices(learned, 0.9)
    found = learned.quality
    assert abs(found.log_evidence - np.log(5.0)) < 4 * found.log_evidence_error
    share = learned.rounds[learned.best].shares[:2].max()
    assert abs(share - 0.8) < 0.02
    # and so are the particles that chains start from
    error = np.sqrt(0.8 * 0.2 / NUM)
    assert abs((np.asarray(learned.particles)[:, 0] < 4).mean() - 0.8) < 4 * error
    assert learned.particles.shape == (NUM, DIM)


def test_every_evaluation_is_counted(learned: Learned) -> None:
    assert learned.num_grad == NUM * (1 + 4 * len(learned.rounds))


def test_a_target_that_is_no_mixture_is_left_to_a_network() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM, DIM))
    x *= (5 + 0.05 * rng.normal(size=(NUM, 1))) / np.linalg.norm(x, axis=1, keepdims=True)
    learned = learn(ring, x)
    assert learned.quality.acceptance_rate < SUFFICIENT
    assert not suffices(learned, SUFFICIENT)


def test_what_was_found_has_to_be_covered(learned: Learned) -> None:
    assert learned.covers
    assert not suffices(learned._replace(covers=False), 0.9)


def test_units_are_those_within_modes() -> None:
    """Modes eight apart share a covariance of correlation .9."""
    rng = np.random.default_rng(0)
    root = np.array([[1.0, 0.0], [0.9, np.sqrt(0.19)]])
    x = rng.normal(size=(2000, 2)) @ root.T + 8 * (np.arange(2000) % 2)[:, None]
    gradients = -np.linalg.solve(root @ root.T, (x - 8 * (np.arange(2000) % 2)[:, None]).T).T
    regions = find_regions(x, np.zeros(2000), gradients)
    assert regions.num == 2
    factor = units_of(regions.mixture, x, gradients).factor
    np.testing.assert_allclose(factor @ factor.T, root @ root.T, atol=0.1)

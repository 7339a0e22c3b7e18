"""What the next training uses."""

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.explore_regions import with_lost
from numpyro_score.learned.regions import LEAST_SHARE, Regions, assign
from numpyro_score.learned.resampling import resample

CENTERS = np.array([-20.0, 0.0, 20.0])
RNG = np.random.default_rng(0)
# regions around the centers, and a wide Gaussian
FACTORS = jnp.array([1.0, 1.0, 1.0, 100.0])[:, None, None]
MIXTURE = GaussianMixture(
    jnp.log(jnp.full(4, 0.25)), jnp.array([*CENTERS, 0.0])[:, None], FACTORS, 1 / FACTORS
)


def around(counts):
    """So many points around each center."""
    x = np.repeat(CENTERS, counts) + 0.3 * RNG.normal(size=sum(counts))
    return jnp.asarray(x[:, None], jnp.float32)


def count(x):
    return np.bincount(np.asarray(assign(MIXTURE, x)), minlength=4)


def test_weights_count_and_a_region_without_draws_keeps_its_particles():
    draws, particles = around([600, 400, 0]), around([100, 100, 100])
    log_weights = np.where(np.arange(1000) < 600, 0.0, np.log(3.0))
    chosen = resample(jax.random.key(0), MIXTURE, draws, log_weights, particles)
    weights = np.array([600.0, 1200.0, 0.0, 0.0])
    expected = np.append(weights[:2] / 1800, [LEAST_SHARE, 0]) / (1 + LEAST_SHARE)
    # systematic resampling: one off at most
    np.testing.assert_allclose(count(chosen), 1000 * expected, atol=1.01)
    # what stays of the third region are its particles
    assert np.isin(np.asarray(chosen)[np.asarray(chosen) > 10], np.asarray(particles)).all()


def test_a_region_of_small_weight_has_a_least_share():
    draws = around([500, 499, 1])
    chosen = resample(jax.random.key(0), MIXTURE, draws, np.zeros(1000), draws)
    assert count(chosen)[2] >= np.floor(LEAST_SHARE * 1000 / (1 + LEAST_SHARE))


def test_a_region_that_annealing_lost_is_given_back():
    regions, particles = Regions(MIXTURE, 3), around([600, 400, 0])
    starts = np.asarray(around([50, 50, 7]))
    kept, places = with_lost(jax.random.key(0), regions, starts, particles)
    assert (kept[places] > 10).all()
    assert count(kept)[2] == 10
    assert count(kept).sum() == 1000
    # too few starts are no region
    few, places = with_lost(jax.random.key(0), regions, np.asarray(around([50, 50, 4])), particles)
    assert places.size == 0
    np.testing.assert_array_equal(few, particles)

"""A mode that too few points found for a cluster becomes a region all the same."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.kernels.gaussian_mixture import gaussian_mixture
from numpyro_score.learned.adapting import adapt_mixture
from numpyro_score.learned.explore_regions import Found, count_regions
from numpyro_score.learned.missed import with_missed
from numpyro_score.learned.regions import Regions

DIM, NUM = 4, 512
AWAY = np.full(DIM, 12.0)


def two_modes(x: Any) -> Any:
    """Weights .7 and .3."""
    terms = jnp.stack([-jnp.sum(x**2) / 2, -jnp.sum((x - AWAY) ** 2) / 2])
    return jax.nn.logsumexp(terms + jnp.log(jnp.array([0.7, 0.3])))


def test_three_points_on_their_way_to_a_mode() -> None:
    x = np.random.default_rng(0).normal(size=(NUM, DIM))
    x[-3:] = AWAY + 2.5
    starts = x.astype(np.float32)
    # one region, and the wide component
    mixture = gaussian_mixture([0.9, 0.1], np.zeros((2, DIM)), [np.eye(DIM), 4 * np.eye(DIM)])
    regions = Regions(mixture, 1)
    counts = count_regions(regions, [starts[:400], starts[400:500], starts[500:]])
    logdensity = np.asarray(jax.vmap(two_modes)(starts))
    modes = Found(starts, logdensity, regions, counts, (0.0, 1.0), 0, 3)
    learned = adapt_mixture(two_modes, modes, jnp.asarray(starts[:-3]), jax.random.key(0), NUM)
    found = with_missed(two_modes, modes, learned, jax.random.key(1))
    new = range(1, found.regions.num)
    assert 1 <= len(new) <= 12
    mixture = found.regions.mixture
    # the wide component is the last one still
    np.testing.assert_array_equal(mixture.means[-1], regions.mixture.means[-1])
    for k in new:
        np.testing.assert_allclose(mixture.means[k], AWAY, atol=4)
    np.testing.assert_allclose(np.exp(mixture.log_weights).sum(), 1, rtol=1e-5)
    # the points have moved on, in their groups
    np.testing.assert_array_equal(found.counts.sum(axis=1), [400, 100, 12])
    assert found.counts[:, 1:-1].sum(axis=1).tolist() == [0, 0, 3]
    again = adapt_mixture(two_modes, found, jnp.asarray(found.starts), jax.random.key(2), NUM)
    assert again.covers
    share = (np.asarray(again.particles).mean(axis=1) > 6).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / NUM)
    # where nothing is missing nothing changes
    assert with_missed(two_modes, found, again, jax.random.key(1)) is found

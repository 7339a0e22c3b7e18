"""Which chains are far below the others: planted groups, and distributions that have none."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.adaptation.stuck import depths, far_below, is_arriving


def gaussian_levels(rng: Any, num_chains: int, dim: int) -> Any:
    """Log densities of draws from a Gaussian."""
    return -0.5 * rng.chisquare(dim, num_chains)


@pytest.mark.parametrize("dim", [2, 8, 50])
@pytest.mark.parametrize("num_low", [1, 11, 53])
def test_a_lesser_mode_is_found_whatever_its_share(num_low: int, dim: int) -> None:
    """Chains 10 spreads and 20 nats below 64 - `num_low` others: no rule of `10 dim` sees them."""
    rng = np.random.default_rng(0)
    levels = gaussian_levels(rng, 64, dim)
    levels[:num_low] -= 20 + 16 * np.sqrt(dim / 2)
    found = np.asarray(far_below(depths(jnp.asarray(levels)), dim))
    np.testing.assert_array_equal(found, np.arange(64) < num_low)


@pytest.mark.parametrize(("num_chains", "dim"), [(2, 8), (4, 2), (64, 1), (64, 8), (64, 200)])
def test_chains_of_one_mode_are_left_alone(num_chains: int, dim: int) -> None:
    """In 2,000 sets of chains in equilibrium hardly one is taken to be stuck."""
    rng = np.random.default_rng(1)
    levels = jnp.asarray(np.stack([gaussian_levels(rng, num_chains, dim) for _ in range(2_000)]))
    found = jax.vmap(lambda level: far_below(depths(level), dim))(levels)
    assert np.asarray(found).any(axis=1).mean() < 0.005


def test_neither_a_funnel_nor_heavy_tails_are_taken_for_modes() -> None:
    """Log densities of Neal's funnel vary by 13 nats between chains, and more at its mouth."""
    rng = np.random.default_rng(2)
    v = 3 * rng.normal(size=(500, 64))
    z = rng.normal(size=(500, 64, 9))
    funnel = -(v**2) / 18 - 4.5 * v - 0.5 * (z**2).sum(axis=-1)
    student = -2.5 * np.log1p(rng.standard_t(3, size=(500, 64, 5)) ** 2 / 3).sum(axis=-1)
    for levels, dim in ((funnel, 10), (student, 5)):
        found = jax.vmap(lambda level, dim=dim: far_below(depths(level), dim))(jnp.asarray(levels))
        assert np.asarray(found).any(axis=1).mean() < 0.01


def test_modes_that_count_are_kept() -> None:
    """Two groups 15 nats apart in eight dimensions: their weights may be alike."""
    levels = gaussian_levels(np.random.default_rng(3), 64, 8)
    levels[:20] -= 15
    assert not np.asarray(far_below(depths(jnp.asarray(levels)), 8)).any()


@pytest.mark.parametrize("lost", [np.nan, -np.inf, np.inf])
def test_what_is_no_number_is_far_below(lost: float) -> None:
    levels = jnp.array([-1.0, lost, -2.0, -3.0])
    np.testing.assert_array_equal(far_below(depths(levels), 3), [False, True, False, False])
    assert not np.asarray(far_below(depths(jnp.full(4, lost)), 3)).any()


def test_a_chain_on_its_way_is_told_from_one_that_stays() -> None:
    before = jnp.array([-3.0, -1e6, -600.0, -600.0, -jnp.inf])
    now = jnp.array([-2.0, -400.0, -300.0, -599.0, -jnp.inf])
    np.testing.assert_array_equal(
        is_arriving(before, now, depths(jnp.asarray(now))), [True, True, True, False, False]
    )

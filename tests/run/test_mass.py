"""Masses of modes, estimated from draws in them."""

import numpy as np

from numpyro_score.run.density import Positions
from numpyro_score.run.mass import is_comparable, log_mass

NOISE = np.random.default_rng(0).normal(size=(8, 500, 3))
HEIGHT = -0.5 * (NOISE**2).sum(axis=-1)


def test_a_mode_of_twice_the_sds_and_the_same_height_has_eight_times_the_mass() -> None:
    one, other = (log_mass(Positions(99.0 + scale * NOISE, HEIGHT)) for scale in (1.0, 2.0))
    np.testing.assert_allclose(other - one, 3 * np.log(2), rtol=1e-6)
    assert abs(one + 1.5) < 4 * np.sqrt(1.5 / 4_000 + 3 * 0.5 / 4_000)


def test_draws_that_do_not_vary_are_of_no_mode() -> None:
    points = NOISE.copy()
    points[..., 1] = 2.0
    stuck = log_mass(Positions(points, HEIGHT))
    assert stuck == -np.inf
    # beside others that do not vary either, too
    assert not is_comparable(np.array([stuck, np.nan]), stuck, 3).any()

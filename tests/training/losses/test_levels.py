from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from numpyro_score.noise import OU, VE, VP, SubVP
from numpyro_score.training.losses import EDMWeight, LogNormal, LogUniform, UniformTime
from numpyro_score.training.losses.levels import SMALLEST_TIME, spread

U = jnp.linspace(0.01, 0.99, 99)


@pytest.mark.parametrize("noise", [VE(0.01, 50.0), VP(), SubVP(), OU()], ids=lambda n: str(n)[:5])
def test_log_uniform_is_uniform_in_the_log_of_the_ratio(noise: Any) -> None:
    log_ratio = jax.jit(lambda u: jnp.log(noise.ratio(LogUniform()(u, noise))))(U)
    steps = np.diff(np.asarray(log_ratio))
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.02)
    first = noise.ratio(0.0) if noise.ratio(0.0) > 0 else noise.ratio(SMALLEST_TIME)
    span = jnp.log(noise.ratio(1.0)) - jnp.log(first)
    np.testing.assert_allclose(log_ratio[-1] - log_ratio[0], 0.98 * span, rtol=0.01)


def test_ends_of_log_uniform_in_units_of_the_data() -> None:
    noise = VP()
    ratios = noise.ratio(LogUniform(0.1, 3.0)(jnp.array([0.0, 1.0]), noise))
    np.testing.assert_allclose(ratios, [0.1, 3.0], rtol=1e-3)


def test_log_normal() -> None:
    noise = VE(1e-4, 1e4)
    u = spread(jax.random.key(0), 2000, jnp.float32)
    log_ratio = np.log(jax.jit(lambda u: noise.ratio(LogNormal(-0.5, 0.8)(u, noise)))(u))
    assert stats.kstest(log_ratio, stats.norm(-0.5, 0.8).cdf).statistic < 0.01


def test_levels_beyond_the_process_are_its_ends() -> None:
    noise = VE(0.5, 2.0)
    both = jax.jit(lambda u: [LogNormal(0.0, 5.0)(u, process) for process in (noise, VP())])(U)
    t, preserving = map(np.asarray, both)
    assert t.min() == 0
    assert t.max() == 1
    assert (preserving > 0).all()  # where there is no noise there is no target


def test_uniform_time() -> None:
    t = UniformTime(0.1)(U, VP())
    np.testing.assert_allclose([t[0], t[-1]], [0.109, 0.991], rtol=1e-5)


def test_spread_covers_evenly() -> None:
    draw = jax.jit(jax.vmap(lambda key: spread(key, 8, jnp.float32)))
    u = np.asarray(draw(jax.random.split(jax.random.key(0), 1000)))
    assert (np.floor(u * 8) == np.arange(8)).all()
    # each number by itself is uniform
    assert stats.kstest(u[:, 3] * 8 % 1, "uniform").pvalue > 1e-3


def test_edm_weight_is_that_of_the_denoised_point() -> None:
    r, sd = 0.7, 2.0
    expected = (r**2 + sd**2) / (r * sd) ** 2 * r**2  # |D - x_0|^2 = r^2 |sigma s + z|^2
    alpha = 0.6
    weight = EDMWeight(sd)(jnp.asarray(alpha), jnp.asarray(alpha * r))
    np.testing.assert_allclose(weight / (alpha * r) ** 2, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LogUniform(2.0, 1.0), "0 < ratio_min < ratio_max"),
        (lambda: LogUniform(1.0, 1.0), "0 < ratio_min < ratio_max"),
        (lambda: LogUniform(-1.0), "0 < ratio_min"),
        (lambda: LogNormal(0.0, 0.0), "above 0"),
        (lambda: UniformTime(1.0), "between 0 and 1"),
        (lambda: EDMWeight(0.0), "above 0"),
    ],
)
def test_bad_settings(make: Any, match: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=match):
        make()

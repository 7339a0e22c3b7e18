"""Every observation process: what is known on the way, its distribution, and where it ends."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from numpyro_score.localization import (
    BinaryChannel,
    Erasure,
    IsotropicGaussian,
    Localizer,
    WeightedPoints,
    localization,
)
from tests.localization.conftest import (
    DISTRIBUTIONS,
    GAUSSIANS,
    ISING,
    MEANS,
    RANDOM_FIELD,
    SD,
    SPINS,
    WEIGHTS,
    Distribution,
    draw_spins,
)

NUM = 4000
SIGMAS = 4.5
LEVEL = 1e-4
"""Of each two-sample test; there are some forty."""


def plan(distribution: Distribution, **changes: Any) -> Localizer:
    distribution = distribution._replace(**changes)
    return localization(distribution.process, distribution.mean, distribution.times)


@pytest.fixture(scope="module")
def ways() -> Any:
    """Ways of each distribution, drawn once."""
    known: dict[str, Any] = {}

    def of(name: str) -> Any:
        if name not in known:
            known[name] = plan(DISTRIBUTIONS[name]).trajectory(jax.random.key(1), NUM)
        return known[name]

    return of


def posterior_means(distribution: Distribution, summaries: np.ndarray) -> np.ndarray:
    """`E[x]` along the ways, `(num, knots, dim)`."""
    if isinstance(distribution.process, Erasure):
        return summaries @ np.asarray(distribution.process.values)
    return summaries


def worst_error(
    distribution: Distribution, way: Any, observations: np.ndarray | None = None
) -> float:
    """Largest difference, in standard errors, between `E[m(Y_t, t)]` and `E[x]`."""
    exact = distribution.draw(np.random.default_rng(0), 400_000).mean(0)
    means = posterior_means(distribution, way.summaries)
    start = 1 if np.ptp(means[:, 0]) == 0 else 0
    error = np.abs(means[:, start:].mean(0) - exact)
    spread = means[:, start:].std(0) / np.sqrt(len(means)) + 2e-3
    return float((error / spread).max())


def test_the_mean_of_what_is_known_stays(name: str, ways: Any) -> None:
    distribution = DISTRIBUTIONS[name]
    means = posterior_means(distribution, ways(name).summaries)
    assert worst_error(distribution, ways(name)) < SIGMAS
    # the posterior's variance is what the means' variance lacks; it falls to 0
    total = distribution.draw(np.random.default_rng(1), 400_000).var(0)
    known = means.var(0)
    assert (np.diff(known[::40], axis=0) > -0.05 * total).all()
    np.testing.assert_allclose(known[-1], total, rtol=0.12)


def two_sample(distribution: Distribution, way: Any, seed: int = 2) -> float:
    """Least p-value over three times and three views, times their number."""
    rng = np.random.default_rng(seed)
    found = []
    knots = [
        len(distribution.times) // 4,
        len(distribution.times) // 2,
        3 * len(distribution.times) // 4,
    ]
    for knot in knots:
        t = distribution.times[knot]
        x = jnp.asarray(distribution.draw(rng, NUM))
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), NUM)
        fresh = np.asarray(jax.vmap(distribution.process.observe, (0, 0, None))(keys, x, t))
        old = way.observations[:, knot].reshape(NUM, -1)
        fresh = fresh.reshape(NUM, -1)
        views = [*np.eye(old.shape[1])[:2], rng.normal(size=old.shape[1])]
        found += [stats.ks_2samp(old @ v, fresh @ v, method="asymp").pvalue for v in views]
    return min(found) * len(found)


def test_observations_on_the_way_have_their_distribution(name: str, ways: Any) -> None:
    assert two_sample(DISTRIBUTIONS[name], ways(name)) > LEVEL


# -- where it ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAUSSIANS)
def test_mixtures_are_drawn(name: str, ways: Any) -> None:
    draws = ways(name).summaries[:, -1]
    nearest = np.argmin(((draws[:, None] - MEANS) ** 2).sum(2), 1)
    share = np.bincount(nearest, minlength=3) / NUM
    assert (np.abs(share - WEIGHTS) < SIGMAS * np.sqrt(WEIGHTS * (1 - WEIGHTS) / NUM) + 0.01).all()
    for mode in range(3):
        inside = draws[nearest == mode]
        error = SD / np.sqrt(len(inside))
        assert (np.abs(inside.mean(0) - MEANS[mode]) < SIGMAS * error + 0.03).all()
        assert (np.abs(inside.std(0) / SD - 1) < SIGMAS / np.sqrt(2 * len(inside)) + 0.05).all()


@pytest.mark.parametrize(
    ("name", "log_weights"),
    [
        ("channel of a chain", ISING),
        ("channel of a random field", RANDOM_FIELD),
        ("erasure of a chain", ISING),
        ("erasure of a random field", RANDOM_FIELD),
    ],
)
def test_spins_are_drawn(name: str, log_weights: np.ndarray, ways: Any) -> None:
    distribution = DISTRIBUTIONS[name]
    last = ways(name).observations[:, -1]
    draws = last[:, 0] if isinstance(distribution.process, Erasure) else last
    exact = np.exp(log_weights) / np.exp(log_weights).sum()
    # as far from the distribution as that many exact draws are
    rng = np.random.default_rng(3)
    floor = [total_variation(draw_spins(log_weights)(rng, NUM), exact) for _ in range(50)]
    assert total_variation(draws, exact) < np.mean(floor) + SIGMAS * np.std(floor)


def total_variation(draws: np.ndarray, exact: np.ndarray) -> float:
    places = ((draws > 0) @ (2 ** np.arange(draws.shape[1])[::-1])).astype(int)
    return float(0.5 * np.abs(np.bincount(places, minlength=len(exact)) / len(draws) - exact).sum())


def test_rates_are_drawn(ways: Any) -> None:
    draws = ways("poisson").summaries[:, -1]
    exact = DISTRIBUTIONS["poisson"].draw(np.random.default_rng(4), 100_000)
    for column in range(2):
        assert stats.ks_2samp(draws[:, column], exact[:, column], method="asymp").pvalue > LEVEL


# -- planted mistakes -----------------------------------------------------------------------------


class Shrunk:
    """A posterior mean that is a tenth too small."""

    def __init__(self, mean: Any) -> None:
        self.mean = mean

    def __call__(self, y: jax.Array, t: Any) -> jax.Array:
        return 0.9 * self.mean(y, t)


@pytest.mark.parametrize(
    "name",
    [
        "isotropic",
        "channel of a random field",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "poisson")),
    ],
)
def test_a_wrong_mean_is_seen(name: str) -> None:
    distribution = DISTRIBUTIONS[name]
    way = plan(distribution, mean=Shrunk(distribution.mean)).trajectory(jax.random.key(1), NUM)
    assert worst_error(distribution, way) > SIGMAS or two_sample(distribution, way) < LEVEL


def test_steps_without_noise_are_seen() -> None:
    class Quiet(IsotropicGaussian):  # type: ignore[misc]
        def step(self, rng_key: Any, y: Any, t: Any, dt: Any, m: Any) -> Any:
            return y + dt * m + 0.8 * (super().step(rng_key, y, t, dt, m) - y - dt * m)

    distribution = DISTRIBUTIONS["isotropic"]
    way = plan(distribution, process=Quiet((2,))).trajectory(jax.random.key(1), NUM)
    assert two_sample(distribution, way) < LEVEL


# -- the channel's rates --------------------------------------------------------------------------


def distributions_of_flips(t: float, num: int = 3) -> tuple[np.ndarray, np.ndarray, Any]:
    """Spins of a small random field, their distribution, and the posterior mean."""
    spins = SPINS[:: 2 ** (SPINS.shape[1] - num), :num]
    log_weights = 0.8 * (spins[:, 1:] * spins[:, :-1]).sum(1) + spins @ np.array([0.5, -0.3, 0.1])
    distribution = np.exp(log_weights) / np.exp(log_weights).sum()
    return spins, distribution, WeightedPoints(BinaryChannel(num), spins, log_weights)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_rates_of_flips_carry_the_distribution_forward(t: float, x64: None) -> None:
    """Kolmogorov's forward equation, over all states."""
    spins, distribution, mean = distributions_of_flips(t)
    process = BinaryChannel(3)

    def observed(t: Any) -> jax.Array:
        seen = (1 + t * spins[:, None, :] * spins[None, :, :]) / 2
        return jnp.asarray(distribution) @ jnp.prod(seen, axis=2)

    rates = jax.vmap(lambda y: process.rate(y, t, mean(y, t)))(jnp.asarray(spins))
    assert (rates >= 0).all()
    now = observed(t)
    flow = jnp.zeros(8)
    for i in range(3):
        other = np.array([int(np.flatnonzero((spins == y * (1 - 2 * np.eye(3)[i])).all(1))[0])
                          for y in spins])  # fmt: skip
        flow = flow + rates[other, i] * now[other] - rates[:, i] * now
    np.testing.assert_allclose(flow, jax.jacfwd(observed)(t), atol=1e-10)


@pytest.mark.parametrize("t", [0.2, 0.7])
def test_short_steps_flip_at_the_rate(t: float, x64: None) -> None:
    _, _, mean = distributions_of_flips(t)
    process, y, dt = BinaryChannel(3), jnp.array([1.0, -1.0, 1.0]), 0.02 * t
    m = mean(y, t)
    keys = jax.random.split(jax.random.key(5), 400_000)
    moved = jax.vmap(lambda key: process.step(key, y, t, dt, m))(keys)
    flipped = jnp.mean(moved != y, axis=0)
    expected = process.rate(y, t, m) * dt
    # to first order in dt, whose next term is of the relative size dt / t
    error = 4.5 * float(np.sqrt(expected.max() / 400_000))
    np.testing.assert_allclose(flipped, expected, rtol=2 * dt / t, atol=error)


# -- the order of the error -----------------------------------------------------------------------


def error_of_channel(num_steps: int) -> float:
    """Total variation at the end, by the chain of all states: no draw is made."""
    spins, distribution, mean = distributions_of_flips(0.0)
    process, times = BinaryChannel(3), np.linspace(0.0, 1.0, num_steps + 1)
    states = jnp.asarray(spins)
    now = jnp.full(8, 1 / 8)
    for t, dt in zip(times[:-1], np.diff(times), strict=True):
        up = jax.vmap(lambda y: process.probability(y, t, dt, mean(y, t)))(states)  # noqa: B023
        moves = jnp.where(states[None] > 0, up[:, None], 1 - up[:, None]).prod(2)
        now = now @ moves
    return float(0.5 * jnp.abs(now - distribution).sum())


def error_of_gaussian(num_steps: int) -> float:
    """Relative error of the variance at the end, of a standard Gaussian: steps are linear maps."""
    process, times = IsotropicGaussian(1), np.linspace(0.0, 8.0, num_steps + 1)
    key, variance = jax.random.key(0), 0.0
    for t, dt in zip(times[:-1], np.diff(times), strict=True):
        # `E[x | Y_t = y] = y / (1 + t)`
        ends = [
            process.step(key, jnp.full(1, y), t, dt, jnp.full(1, y) / (1 + t)) for y in (0.0, 1.0)
        ]
        variance = float((ends[1] - ends[0])[0]) ** 2 * variance + dt
    exact = 8.0 + 8.0**2
    return abs(variance / exact - 1)


@pytest.mark.parametrize(("error", "num_steps"), [(error_of_channel, 16), (error_of_gaussian, 64)])
def test_error_falls_with_the_step(error: Any, num_steps: int, x64: None) -> None:
    """Order 1: half the step, half the error."""
    coarse, fine = error(num_steps), error(2 * num_steps)
    assert fine < 0.05
    assert 1.7 < coarse / fine < 2.3

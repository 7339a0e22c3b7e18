"""Posterior means from scores and back, from points, networks and chains; what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from numpyro_score.localization import (
    AnisotropicGaussian,
    BinaryChannel,
    DenoiserMean,
    Erasure,
    InnerChains,
    IsotropicGaussian,
    LinearObservation,
    LocalizationScore,
    MeanNetwork,
    PoissonCounts,
    WeightedPoints,
    choose_start,
    geometric_times,
    gibbs_sweep,
    localization,
)
from numpyro_score.noise import OU, VE, VP
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP
from numpyro_score.training import fit
from numpyro_score.training.losses import LocalizationRegression
from tests.localization.conftest import (
    DISTRIBUTIONS,
    FIELD,
    ISING,
    MEANS,
    SD,
    SPINS,
    WEIGHTS,
    draw_spins,
    mixture_mean,
)

# -- diffusion in another clock -------------------------------------------------------------------


@pytest.mark.parametrize("noise", [OU(), VE(sigma_min=0.01, sigma_max=50.0), VP()])
def test_a_score_is_a_posterior_mean(noise: Any, x64: None) -> None:
    score = GaussianMixtureScore(WEIGHTS, MEANS, SD**2, noise)
    mean, exact = DenoiserMean(score), mixture_mean(IsotropicGaussian(2))
    for t in (0.05, 1.0, 30.0):
        for y in jnp.array([[0.3, -0.2], [2.0, 5.0]]):
            np.testing.assert_allclose(mean(t * y, t), exact(t * y, t), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("noise", [OU(), VE(sigma_min=0.01, sigma_max=50.0)])
def test_a_posterior_mean_is_a_score(noise: Any, x64: None) -> None:
    score = GaussianMixtureScore(WEIGHTS, MEANS, SD**2, noise)
    back = LocalizationScore(DenoiserMean(score), noise)
    for t in (0.1, 0.5, 0.9):
        x = jnp.array([0.4, -1.0])
        np.testing.assert_allclose(back(x, t), score(x, t), rtol=1e-6)
        np.testing.assert_allclose(back.denoise(x, t), score.denoise(x, t), rtol=1e-6)


def test_the_clock_of_ornstein_and_uhlenbeck(x64: None) -> None:
    """`Y_t / sqrt(t (1 + t))` has the distribution of the process at `alpha^2 = t / (1 + t)`."""
    noise, t, x = OU(), 0.7, jnp.array([1.5])
    level = noise.time_of(t**-0.5)
    np.testing.assert_allclose(noise.alpha(level) ** 2, t / (1 + t), rtol=1e-10)
    np.testing.assert_allclose(noise.variance(level), 1 / (1 + t), rtol=1e-10)
    keys = jax.random.split(jax.random.key(0), 100_000)
    y = jax.vmap(lambda key: IsotropicGaussian(1).observe(key, x, t))(keys)
    seen = y / np.sqrt(t * (1 + t))
    np.testing.assert_allclose(seen.mean(), noise.alpha(level) * 1.5, atol=4.5 * 1.0 / 316)
    np.testing.assert_allclose(seen.var(), noise.variance(level), rtol=4.5 * 1.42 / 316)


def test_before_the_noisiest_level_the_mean_is_that_of_the_distribution() -> None:
    score = GaussianMixtureScore(WEIGHTS, MEANS, SD**2, VE(sigma_min=0.01, sigma_max=100.0))
    np.testing.assert_allclose(DenoiserMean(score)(jnp.zeros(2), 0.0), WEIGHTS @ MEANS, atol=2e-2)


# -- what is told of part of x --------------------------------------------------------------------


def test_blind_observations_say_so() -> None:
    process = LinearObservation(np.array([[1.0, 1.0]]))
    times = np.concatenate([[0.0], np.geomspace(0.01, 400.0, 80)])
    plan = localization(process, mixture_mean(process), times)
    draws, of = plan.sample(jax.random.key(0), 2000)
    assert of == "A x"
    assert draws.shape == (2000, 1)
    sums = MEANS.sum(1)
    np.testing.assert_allclose(draws.mean(), WEIGHTS @ sums, atol=4.5 * draws.std() / 45)
    assert plan.sample(jax.random.key(0), 3).of == "A x"
    assert (
        localization(
            DISTRIBUTIONS["linear"].process, mixture_mean(DISTRIBUTIONS["linear"].process), times
        )
        .sample(jax.random.key(0), 1)
        .of
        == "x"
    )


def test_batches_do_not_change_draws() -> None:
    distribution = DISTRIBUTIONS["isotropic"]
    plan = localization(distribution.process, distribution.mean, distribution.times[::8])
    whole = plan.sample(jax.random.key(3), 7).draws
    np.testing.assert_allclose(
        plan.sample(jax.random.key(3), 7, batch_size=3).draws, whole, rtol=1e-5, atol=1e-5
    )


# -- learned means --------------------------------------------------------------------------------


def trained(process: Any, data: np.ndarray, loss: Any, shape: Any) -> MeanNetwork:
    network = ResidualMLP(shape, width=32, depth=2, rng_key=jax.random.key(0))
    model = MeanNetwork(network, process, data)
    result = fit(
        model, data, loss, rng_key=jax.random.key(1), num_steps=1500, batch_size=256, progress=False
    )
    return result.model


def relative_error(distribution: Any, mean: Any, times: Any, num: int = 2000) -> float:
    """`E |m - m*|^2` over the variance of what is to be known, the worst of the times."""
    x = jnp.asarray(distribution.draw(np.random.default_rng(7), num))
    found = []
    for i, t in enumerate(times):
        keys = jax.random.split(jax.random.key(i), num)
        y = jax.vmap(distribution.process.observe, (0, 0, None))(keys, x, t)
        exact, got = (jax.vmap(known, (0, None))(y, t) for known in (distribution.mean, mean))
        total = np.asarray(exact).var(0).sum() if i else float(x.var(0).sum())
        found.append(float(((got - exact) ** 2).mean(0).sum()) / max(total, 1e-9))
    return max(found)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("isotropic", {"first": 0.01, "last": 100.0, "weight": lambda t: 1 + 4 * t}),
        pytest.param(
            "channel of a random field",
            {"first": 0.0, "last": 0.99, "is_geometric": False},
            marks=pytest.mark.slow,
        ),
        pytest.param("poisson", {"first": 0.01, "last": 100.0}, marks=pytest.mark.slow),
    ],
)
def test_regression_finds_the_posterior_mean(name: str, options: dict[str, Any]) -> None:
    distribution = DISTRIBUTIONS[name]
    data = distribution.draw(np.random.default_rng(0), 4000).astype(np.float32)
    loss = LocalizationRegression(distribution.process, **options)
    model = trained(distribution.process, data, loss, distribution.process.shape)
    times = (0.5, 0.2, 0.9) if distribution.process.last_time == 1 else (0.5, 0.1, 3.0)
    assert relative_error(distribution, model, times) < 0.05
    # the loss itself tells the exact mean from one that is a tenth off
    keys = jax.random.key(5)
    batch = jnp.asarray(data)
    exact, off = (
        loss(m, batch, keys)
        for m in (distribution.mean, lambda y, t: 0.9 * distribution.mean(y, t))
    )
    assert exact < off


@pytest.mark.slow
def test_regression_finds_conditional_distributions() -> None:
    distribution = DISTRIBUTIONS["erasure of a chain"]
    data = draw_spins(ISING)(np.random.default_rng(0), 4000).astype(np.float32)
    loss = LocalizationRegression(distribution.process, 0.0, 1.0, is_geometric=False)
    model = trained(distribution.process, data, loss, (2, 8))
    x = jnp.asarray(data[:1000])
    keys = jax.random.split(jax.random.key(2), 1000)
    y = jax.vmap(distribution.process.observe, (0, 0, None))(keys, x, 0.5)
    exact = jax.vmap(lambda y: distribution.mean(y, 0.5))(y)[..., 1]
    got = jax.vmap(lambda y: model(y, 0.5))(y)[..., 1]
    is_hidden = y[:, 1] == 0
    # revealed coordinates need not be learned; of the hidden ones an untrained network errs by 1
    error = jnp.sum(jnp.where(is_hidden, (got - exact) ** 2, 0)) / jnp.sum(is_hidden)
    assert error < 0.1 * exact[is_hidden].var()


# -- chains, no training --------------------------------------------------------------------------

WIDE = dist.Normal(0.0, 3.0).expand([2]).to_event(1)


def mixture_logdensity(x: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(jnp.log(WEIGHTS) - 0.5 * jnp.sum((x - MEANS) ** 2, 1) / SD**2)


@pytest.mark.slow
def test_chains_draw_a_mixture() -> None:
    process = IsotropicGaussian(2)
    mean = InnerChains(
        process, mixture_logdensity, WIDE, num_inner_chains=32, num_steps=2, local_sd=SD
    )
    draws = localization(process, mean, geometric_times(0.01, 100.0, 24)).sample(
        jax.random.key(0), 1500
    )[0]
    nearest = np.argmin(((draws[:, None] - MEANS) ** 2).sum(2), 1)
    share = np.bincount(nearest, minlength=3) / len(draws)
    # 32 chains, 24 steps: the bias of both is below .03
    assert (np.abs(share - WEIGHTS) < 4.5 * np.sqrt(WEIGHTS * (1 - WEIGHTS) / 1500) + 0.03).all()


class FairSpins:
    """Independent fair signs as a reference."""

    def sample(self, rng_key: Any, shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.where(jax.random.bernoulli(rng_key, 0.5, (*shape, 8)), 1.0, -1.0)

    def log_prob(self, x: jax.Array) -> jax.Array:
        return jnp.zeros(())


def random_field(x: jax.Array) -> jax.Array:
    return 0.4 * jnp.sum(x[1:] * x[:-1]) + x @ FIELD


@pytest.mark.slow
def test_chains_of_spins() -> None:
    process = BinaryChannel(8)
    chains = InnerChains(
        process, random_field, FairSpins(), gibbs_sweep, num_inner_chains=64, num_steps=4
    )
    exact = DISTRIBUTIONS["channel of a random field"].mean
    y = jnp.asarray(SPINS[37])
    for t in (0.2, 0.8):
        memory = chains.population(jax.random.key(0), y, t)
        got = jax.vmap(lambda key: chains.update(key, memory, y, t)[0])(  # noqa: B023
            jax.random.split(jax.random.key(1), 64)
        )
        error = got.mean(0) - exact(y, t)
        assert (np.abs(error) < 4.5 / np.sqrt(64 * 64 * 4) + 0.02).all()


@pytest.mark.slow
def test_a_good_start_is_told_from_a_bad_one() -> None:
    process = IsotropicGaussian(2)

    def two(x: jax.Array) -> jax.Array:
        return jnp.logaddexp(-0.5 * jnp.sum((x - 8) ** 2), -0.5 * jnp.sum((x + 8) ** 2))

    wide = dist.Normal(0.0, 10.0).expand([2]).to_event(1)
    chains = InnerChains(process, two, wide, num_inner_chains=256, num_start=8)
    choice = choose_start(chains, jax.random.key(0), [0.0, 3.0])
    assert choice.best == 0.0
    assert choice.is_good
    # long after the modes are told apart, no run finds the other one
    late = choose_start(chains, jax.random.key(0), [3.0])
    assert late.outer_rhat[0] > 1.5
    assert not late.is_good


# -- bad input ------------------------------------------------------------------------------------

SPIN_POINTS = np.array([[1.0, -1.0], [0.0, 1.0]])
BAD: dict[str, tuple[Any, str]] = {
    "rates below 0": (
        lambda: WeightedPoints(PoissonCounts(1), np.array([[-1.0], [2.0]])),
        "a rate is -1",
    ),
    "no spins": (lambda: WeightedPoints(BinaryChannel(2), SPIN_POINTS), "a spin is 0"),
    "unknown values": (lambda: WeightedPoints(Erasure(2), SPIN_POINTS), "a coordinate is 0"),
    "no points": (lambda: WeightedPoints(BinaryChannel(2), np.zeros((0, 2))), "at least one point"),
    "points that are not finite": (
        lambda: WeightedPoints(IsotropicGaussian(1), np.array([[np.nan]])),
        "not finite",
    ),
    "spins of a network": (
        lambda: MeanNetwork(lambda u, t, y: u, BinaryChannel(2), SPIN_POINTS),
        "a spin is 0",
    ),
    "a negative eigenvalue": (
        lambda: AnisotropicGaussian(np.diag([1.0, -0.5])),
        "eigenvalue -0.5; none may be negative",
    ),
    "a direction never seen": (
        lambda: AnisotropicGaussian(np.diag([1.0, 0.0])),
        "does not grow in every direction",
    ),
    "no symmetry": (lambda: AnisotropicGaussian([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
    "knots that fall": (
        lambda: AnisotropicGaussian(np.stack([np.eye(2)] * 2), [0.0, -1.0]),
        "rising from 0",
    ),
    "no observation": (lambda: LinearObservation(np.zeros((1, 2))), "not 0"),
    "an empty grid": (
        lambda: localization(IsotropicGaussian(1), lambda y, t: y, []),
        "at least two times",
    ),
    "a grid that falls": (
        lambda: localization(IsotropicGaussian(1), lambda y, t: y, [1.0, 0.5]),
        "have to be finite and to rise",
    ),
    "a grid past the end": (
        lambda: localization(BinaryChannel(1), lambda y, t: y, [0.0, 1.5]),
        "end at 1",
    ),
    "a mean of another shape": (
        lambda: localization(IsotropicGaussian(2), lambda y, t: y[:1], [0.0, 1.0]),
        r"returns shape \(1,\)",
    ),
    "an erasure without probabilities": (
        lambda: localization(Erasure(2), lambda y, t: y[0], [0.0, 1.0]),
        r"\(2, 2\) is needed",
    ),
    "times the wrong way round": (lambda: geometric_times(1.0, 0.1, 5), "0 < first < last"),
    "training past the end": (
        lambda: LocalizationRegression(BinaryChannel(2), 0.1, 2.0),
        "at most 1",
    ),
    "no chains": (
        lambda: InnerChains(IsotropicGaussian(2), mixture_logdensity, WIDE, num_inner_chains=0),
        "num_inner_chains is 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str, unchecked: None) -> None:
    act, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        act()


def test_what_is_no_function(unchecked: None) -> None:
    for act in (
        lambda: localization(IsotropicGaussian(1), 3.0, [0.0, 1.0]),  # type: ignore[arg-type]
        lambda: DenoiserMean(lambda x, t: x),  # type: ignore[arg-type]
        lambda: InnerChains(IsotropicGaussian(2), mixture_logdensity, 3.0),
        lambda: MeanNetwork(3.0, IsotropicGaussian(1), np.zeros((2, 1))),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            act()


def test_the_old_name_of_the_number_of_chains_still_works() -> None:
    process = IsotropicGaussian(2)
    with pytest.warns(DeprecationWarning, match="'num_chains' is now called 'num_inner_chains'"):
        old = InnerChains(process, mixture_logdensity, WIDE, num_chains=8)  # type: ignore[call-arg]
    assert old.num_inner_chains == 8

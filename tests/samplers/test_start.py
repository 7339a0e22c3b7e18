"""Where samplers start: with the moments of the data, so that modes get their weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP, geometric_ladder
from numpyro_score.samplers import annealed_langevin, probability_flow, reverse_sde
from numpyro_score.scores import (
    FunctionScore,
    GaussianMixtureScore,
    Mixture,
    ResidualMLP,
    ScoreNetwork,
    gaussian_score,
    target_score,
)
from numpyro_score.targets import two_modes

NUM = 20_000


def share(flow: Any) -> float:
    draws = flow.sample(jax.random.key(0), NUM)
    return float((draws.sum(axis=1) > 0).mean())


def test_modes_get_their_weights_by_default() -> None:
    """`sigma_max` of 20 is not far above the spread of 4; from a mean of 0 the flow is wrong."""
    score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    # 4.5 standard errors of .0028
    assert abs(share(probability_flow(score, score.noise, (2,), num_steps=20)) - 0.8) < 0.013
    wrong = probability_flow(score, score.noise, (2,), num_steps=20, data_mean=0.0, data_sd=0.0)
    assert share(wrong) < 0.76


def test_a_mixture_knows_its_moments() -> None:
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 2, 2))
    covariances = roots @ roots.swapaxes(1, 2)
    model = GaussianMixtureScore([0.2, 0.3, 0.5], rng.normal(size=(3, 2)), covariances, VP())
    mean, sd = model.data_moments
    draws = np.asarray(model.sample(jax.random.key(0), 200_000))
    np.testing.assert_allclose(mean, draws.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(sd, draws.std(axis=0), rtol=0.02)
    assert model.shape == (2,)


def test_models_tell_their_moments() -> None:
    noise, data = VP(), np.random.default_rng(0).normal(3.0, 2.0, (100, 2))
    network = ScoreNetwork(ResidualMLP(2, rng_key=jax.random.key(0)), noise, data)
    assert network.shape == (2,)
    assert network.data_moments is not None
    np.testing.assert_allclose(network.data_moments[0], data.mean(axis=0), rtol=1e-5)
    halves = [gaussian_score([m], 1.0, noise) for m in (-3.0, 3.0)]
    joined = Mixture(halves, [0.2, 0.8])
    assert joined.data_moments is not None
    np.testing.assert_allclose(joined.data_moments[0], [1.8], rtol=1e-5)
    np.testing.assert_allclose(joined.data_moments[1] ** 2, [1 + 9 - 1.8**2], rtol=1e-5)
    assert FunctionScore(lambda x, t: -x, noise).data_moments is None
    assert Mixture([network, network], [0.5, 0.5], [lambda x, t: 0.0] * 2).shape == (2,)


@pytest.mark.parametrize("make", [reverse_sde, probability_flow], ids=lambda make: make.__name__)
def test_what_is_given_comes_first(make: Any) -> None:
    noise = VP()
    score = gaussian_score([5.0, 5.0], 4.0, noise)

    def start(**given: Any) -> Any:
        made = make(score, noise, (2,), **given)
        sampler = getattr(made, "decoder", made)
        return sampler.start_mean / noise.alpha(1.0), sampler.start_sd

    np.testing.assert_allclose(start()[0], [5.0, 5.0], rtol=1e-5)
    mean, sd = start(data_mean=1.0)
    np.testing.assert_allclose(mean, 1.0, rtol=1e-5)
    np.testing.assert_allclose(sd, noise.prior(sd=2.0)[1], rtol=1e-5)
    bare = make(lambda x, t: -x, noise, (2,))
    assert not np.any(np.asarray(getattr(bare, "decoder", bare).start_mean))


def test_the_ladder_s_first_level_adds_to_the_data_s_spread() -> None:
    noise = VE(sigma_min=0.1, sigma_max=10.0)
    score = gaussian_score([5.0, 5.0], 4.0, noise)
    sampler = annealed_langevin(score, geometric_ladder(8.0, 0.2, 4), (2,), noise=noise)
    np.testing.assert_allclose(sampler.start_sd, np.sqrt(4 + 64), rtol=1e-5)
    np.testing.assert_allclose(sampler.start_mean, 5.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"data_mean": np.nan}, "data_mean is not finite"), ({"data_sd": -1.0}, "0 or more")],
)
def test_bad_moments_are_refused(given: Any, message: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=message):
        reverse_sde(lambda x, t: -jnp.asarray(x), VP(), (2,), **given)


def test_noise_that_does_not_suit_the_data_is_reported() -> None:
    """Draws of sd .001 come out ten times as wide, modes far apart get wrong weights."""
    narrow = gaussian_score([0.0, 0.0], jnp.array([1.0, 4e-6]), VE(0.01, 20.0))
    make: list[Any] = [reverse_sde, probability_flow]
    for sampler in make:
        with pytest.warns(UserWarning, match=r"sd 0\.002 .* draws will have 5\.14 times their sd"):
            sampler(narrow, narrow.noise, (2,))
    with pytest.warns(UserWarning, match="draws keep noise of sd 0.01"):
        annealed_langevin(narrow, geometric_ladder(10.0, 0.011, 9), (2,), noise=narrow.noise)
    apart = GaussianMixtureScore([0.95, 0.05], [[-10.0], [10.0]], np.ones((2, 1)), VE(0.01, 4.0))
    with pytest.warns(UserWarning, match=r"start from noise of sd 4, less .* 4\.4.* wrong weights"):
        reverse_sde(apart, apart.noise, (1,))
    # what a network takes for constant has no sd to compare with
    data = np.random.default_rng(0).normal(size=(100, 2)) * [1.0, 0.0]
    constant = ScoreNetwork(ResidualMLP(2, rng_key=jax.random.key(0)), VE(0.01, 20.0), data)
    reverse_sde(constant, constant.noise, (2,))

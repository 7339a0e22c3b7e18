"""Denoisers without training: right on average, with errors that shrink as they should."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP
from numpyro_score.scores import (
    GaussianMixtureScore,
    ImportanceScore,
    MalaScore,
    Reference,
    gaussian_score,
)
from numpyro_score.scores.posterior import key_at

NOISE = VE(sigma_min=0.1, sigma_max=10.0)
ORACLE = GaussianMixtureScore([0.3, 0.7], [[-2.0, 0.0], [3.0, 1.0]], [1.0, 0.5], NOISE)
REFERENCE = Reference((1.5, 0.5), 4.0)
KEY = jax.random.key(0)


def target(x: Any) -> Any:
    """The mixture's own log density, up to a constant."""
    gap = x[None] - ORACLE.means.like(x)
    variance = ORACLE.variances.like(x)[:, 0]
    log_terms = ORACLE.log_weights.like(x) - jnp.log(variance)
    return 7.0 + jax.nn.logsumexp(log_terms - 0.5 * jnp.sum(gap**2, 1) / variance)


def errors(make: Callable[..., Any], t: float, num_keys: int = 200) -> tuple[Any, Any]:
    """At three points: mean error of the denoised point over keys in its standard errors; rms."""
    x = jnp.array([[-2.0, 1.0], [1.0, 0.0], [4.0, 0.5]])
    exact = jax.vmap(ORACLE.denoise, (0, None))(x, t)

    @jax.jit
    def estimates(keys: Any) -> Any:
        return jax.vmap(lambda key: jax.vmap(make(rng_key=key).denoise, (0, None))(x, t))(keys)

    error = np.asarray(estimates(jax.random.split(KEY, num_keys)) - exact[None], float)
    return error.mean(0) / (error.std(0) / np.sqrt(num_keys)), np.sqrt((error**2).mean())


# noise of .2, 1 and 5
@pytest.mark.parametrize("t", [0.15, 0.5, 0.85])
def test_importance_sampling_is_right(t: float) -> None:
    rms = []
    for num_samples in (500, 5000):
        make = partial(ImportanceScore, target, NOISE, num_samples=num_samples, reference=REFERENCE)
        z, error = errors(make, t)
        rms.append(error)
    assert np.abs(z).max() < 4.5  # of the larger number: the ratio's bias falls like 1 / n
    assert 2.5 < rms[0] / rms[1] < 4.0  # sqrt(10) but for noise


@pytest.mark.parametrize("t", [0.15, 0.5, 0.85])
def test_another_target_is_seen(t: float) -> None:
    """The planted fault: a temperature of two."""
    wrong = partial(ImportanceScore, lambda x: target(x) / 2, NOISE, reference=REFERENCE)
    z, _ = errors(wrong, t)
    assert np.abs(z).max() > 4.5


@pytest.mark.parametrize("t", [0.15, 0.5, 0.85])
def test_mala_is_right(t: float) -> None:
    sizes: Any = {"num_inner_chains": 32, "num_steps": 16, "num_samples": 1000}
    make: Any = partial(MalaScore, target, NOISE, reference=REFERENCE, local_sd=0.8, **sizes)
    z, rms = errors(make, t, 60)
    assert np.abs(z).max() < 4.5
    assert rms < 0.6  # beside a distance of five between the modes


def test_mala_mends_what_a_bad_reference_leaves() -> None:
    """Six dimensions: few importance draws have weight, chains from them reach the rest."""
    noise = VE(sigma_min=0.1, sigma_max=10.0)
    oracle = gaussian_score(np.full(6, 2.0), 0.25, noise)
    reference, t, x = Reference(0.0, 3.0), 0.7, jnp.zeros(6)

    def gaussian(x: Any) -> Any:
        return -0.5 * jnp.sum((x - 2.0) ** 2) / 0.25

    def rms(make: Any) -> float:
        keys = jax.random.split(KEY, 50)
        ours = jax.jit(jax.vmap(lambda key: make(key).denoise(x, t)))(keys)
        return float(jnp.sqrt(jnp.mean((ours - oracle.denoise(x, t)[None]) ** 2)))

    importance = rms(lambda key: ImportanceScore(gaussian, noise, key, 256, reference))
    chains = rms(lambda key: MalaScore(gaussian, noise, key, reference, 0.5, 16, 64, 256))
    assert chains < importance / 3


@pytest.mark.parametrize("make", [ImportanceScore, MalaScore])
def test_gradients_take_the_error_away(make: Any) -> None:
    """Of a Gaussian whose width is known all of it; without gradients it is large."""
    oracle = gaussian_score(np.ones(2), 0.49, VP())

    def gaussian(x: Any) -> Any:
        return -0.5 * jnp.sum((x - 1.0) ** 2) / 0.49

    x, reference = jnp.array([0.3, 2.0]), Reference(1.0, 1.0)
    for t in (0.1, 0.5):
        exact = oracle(x, t)
        plain = make(gaussian, VP(), KEY, reference=reference)(x, t)
        steered = make(gaussian, VP(), KEY, reference=reference, local_sd=0.7)(x, t)
        error = jnp.abs(steered - exact).max()
        assert error < 1e-3 * jnp.abs(exact).max()
        assert error < 0.1 * jnp.abs(plain - exact).max()


def test_estimates_are_functions_with_errors_of_their_own() -> None:
    model = ImportanceScore(target, NOISE, KEY, 100, REFERENCE)
    x = jnp.array([1.0, 0.0])
    call = jax.jit(lambda x, t: model(x, t))
    np.testing.assert_array_equal(call(x, 0.5), call(x, 0.5))
    keys = [
        key_at(KEY, *at)
        for at in [(x, 0.5), (x, 0.50001), (x[::-1], 0.5), (x + 1e-6, 0.5), (-x, 0.5)]
    ]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)
    other = eqx.tree_at(lambda m: m.rng_key, model, jax.random.key(1))
    assert not np.allclose(other(x, 0.5), model(x, 0.5))


def test_effective_sample_size() -> None:
    """All draws count where the target is the reference, few where it is far from it."""

    def near(x: Any) -> Any:
        return -0.5 * jnp.sum((x - 1.0) ** 2) / 4.0

    x = jnp.zeros(2)
    good = ImportanceScore(near, NOISE, KEY, 1000, Reference(1.0, 2.0))
    assert abs(float(good.effective_sample_size(x, 0.8)) - 1000) < 1
    bad = ImportanceScore(lambda x: 100 * near(x), NOISE, KEY, 1000, Reference(1.0, 2.0))
    assert 1 <= float(bad.effective_sample_size(x, 0.8)) < 100


def test_precisions_and_shapes() -> None:
    def standard(x: Any) -> Any:
        return -0.5 * jnp.sum(x**2)

    for is_double in (False, True):
        with jax.enable_x64(is_double):
            x = jnp.ones((2, 2), jnp.float64 if is_double else jnp.float32)
            for make in (ImportanceScore, MalaScore):
                score = make(standard, NOISE, KEY)(x, 0.5)
                assert (score.shape, score.dtype) == (x.shape, x.dtype)


@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="logdensity_fn is a float"):
        ImportanceScore(1.0, NOISE, KEY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_samples is 0"):
        ImportanceScore(target, NOISE, KEY, 0)
    for make in (ImportanceScore, MalaScore):
        with pytest.raises(ValueError, match=r"local_sd is -1\.0 but must be above 0"):
            make(target, NOISE, KEY, local_sd=-1.0)
    with pytest.raises(ValueError, match="num_inner_chains is 0"):
        MalaScore(target, NOISE, KEY, num_inner_chains=0)
    with pytest.raises(ValueError, match="step_scale is 0"):
        MalaScore(target, NOISE, KEY, step_scale=0.0)
    with pytest.raises(ValueError, match="sd is 0"):
        Reference(0.0, 0.0)

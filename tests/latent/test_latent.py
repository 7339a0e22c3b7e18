"""Latent scores: codes, their error, draws, the prior in a model, files."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.latent import (
    LatentScore,
    fit_autoencoder,
    fit_latent,
    principal_components,
)
from numpyro_score.latent.model import reconstruction
from numpyro_score.samplers import PosteriorScore, consistency, reverse_sde
from numpyro_score.scores import ConsistencyModel

NUM, NOISE_SD = 2000, 0.05
AXES = np.random.default_rng(1).normal(size=(3, 12))
CODES = np.random.default_rng(0).normal(size=(NUM, 3))
FIELDS = (CODES @ AXES + NOISE_SD * np.random.default_rng(2).normal(size=(NUM, 12)) + 5.0).reshape(
    NUM, 3, 4
)
"""Gaussian fields of 3 x 4 points, near a plane of three dimensions."""

OPTIONS: Any = {"rng_key": jax.random.key(0), "width": 32, "depth": 1, "progress": False}


@pytest.fixture(scope="module")
def latent() -> LatentScore:
    return fit_latent(FIELDS, 3, coder=principal_components, num_steps=600, **OPTIONS).model


def test_principal_components_keep_what_there_is(latent: LatentScore) -> None:
    """What is left is the noise outside of the plane: its share is 9 of 12 directions."""
    assert latent.error.rmse == pytest.approx(NOISE_SD * math.sqrt(9 / 12), rel=0.05)
    codes = np.asarray(jax.vmap(latent.encode)(jnp.asarray(FIELDS, jnp.float32)))
    np.testing.assert_allclose(np.cov(codes, rowvar=False), np.eye(3), atol=0.05)


def test_draws_have_the_moments_of_the_data(latent: LatentScore) -> None:
    x = latent.sample(jax.random.key(1), 4000).reshape(-1, 12)
    truth = FIELDS.reshape(NUM, 12)
    sd = truth.std(axis=0)
    # of 4,000 draws and of 2,000 data, and some hundredths of error of the score
    assert (abs(x.mean(axis=0) - truth.mean(axis=0)) / sd < 0.12).all()
    assert (abs(x.std(axis=0) / sd - 1) < 0.1).all()


def test_the_wrong_number_of_coordinates_is_seen_in_the_error() -> None:
    two = fit_latent(FIELDS, 2, coder=principal_components, num_steps=1, **OPTIONS).model
    assert two.error.rmse > 5 * NOISE_SD


def test_the_posterior_given_the_learned_prior(latent: LatentScore) -> None:
    """An exact kernel in the code's coordinates, against the Gaussian posterior."""
    where, variance = np.array([0, 5, 10]), 0.3**2
    y = FIELDS[0].reshape(-1)[where]

    def model(y: Any) -> None:
        z = numpyro.sample("z", latent.prior)
        x = numpyro.deterministic("x", latent.decode(z))
        numpyro.sample("y", dist.Normal(x.reshape(-1)[where], 0.3).to_event(1), obs=y)

    tree = ns.sample(
        ns.MALA(model),
        jax.random.key(0),
        num_warmup=300,
        num_samples=300,
        num_chains=16,
        model_args=(y,),
        progress=False,
    )
    covariance = AXES.T @ AXES
    gain = covariance[:, where] @ np.linalg.inv(
        covariance[np.ix_(where, where)] + variance * np.eye(3)
    )
    mean = 5.0 + gain @ (y - 5.0)
    sd = np.sqrt(np.diag(covariance - gain @ covariance[where]))
    x = tree.posterior["x"].values.reshape(-1, 12)
    assert (abs(x.mean(axis=0) - mean) < 0.15 * sd + 0.05).all()
    np.testing.assert_allclose(x.std(axis=0), sd, rtol=0.2)


def test_samplers_work_through_it(latent: LatentScore) -> None:
    """Guidance by a likelihood of fields, and a consistency model of codes."""
    guided = PosteriorScore(
        latent.score, lambda z: -jnp.sum((latent.decode(z) - 5.0) ** 2) / (2 * 2.0**2)
    )
    sampler = reverse_sde(guided, latent.noise, (3,), num_steps=30)
    x = latent.sample(jax.random.key(0), 200, sampler=sampler)
    assert x.std() < 0.8 * FIELDS.std()
    fast = consistency(ConsistencyModel(latent.score), latent.noise, (3,))
    assert latent.sample(jax.random.key(0), 7, sampler=fast).shape == (7, 3, 4)


@pytest.mark.parametrize(("kl_weight", "share"), [(0.0, 0.3), (1e-3, 0.5)])
def test_an_autoencoder_is_better_than_a_line_on_an_arc(kl_weight: float, share: float) -> None:
    angle = np.random.default_rng(0).uniform(0, 1.5 * np.pi, 1000)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    options: Any = {"width": 32, "num_steps": 800, "progress": False}
    coder = fit_autoencoder(arc, 1, rng_key=jax.random.key(0), kl_weight=kl_weight, **options)
    line = reconstruction(principal_components(arc, 1), arc)
    assert reconstruction(coder, arc).rmse < share * line.rmse
    codes = np.asarray(jax.vmap(coder.encode)(jnp.asarray(arc, jnp.float32)))
    assert abs(codes.mean()) < 0.01
    assert codes.std() == pytest.approx(1.0, rel=0.01)


def test_files(latent: LatentScore, tmp_path: Path) -> None:
    again = LatentScore.load(latent.save(tmp_path / "latent.eqx"))
    key = jax.random.key(0)
    np.testing.assert_array_equal(again.sample(key, 5), latent.sample(key, 5))
    z = jnp.ones(3)
    np.testing.assert_array_equal(again.prior.log_prob(z), latent.prior.log_prob(z))
    assert again.error == latent.error


def test_the_prior_has_the_density_of_its_draws(latent: LatentScore) -> None:
    z = latent.prior.sample(jax.random.key(0), (500,))
    log_prob = latent.prior.log_prob(z)
    exact = jax.scipy.stats.norm.logpdf(z).sum(axis=1)
    assert abs(float(jnp.mean(log_prob - exact))) < 0.2


def test_bad_input(latent: LatentScore) -> None:
    with pytest.raises(ValueError, match="latent is 13, but points of shape"):
        fit_latent(FIELDS, 13, **OPTIONS)
    with pytest.raises(ValueError, match="latent is 0"):
        fit_latent(FIELDS, 0, **OPTIONS)
    with pytest.raises(ValueError, match="there are 2 points"):
        fit_latent(FIELDS[:3], 3, **OPTIONS)
    with pytest.raises(ValueError, match="but its square has to be well within float32"):
        fit_latent(1e30 * FIELDS.astype(np.float64), 3, **OPTIONS)
    with pytest.raises(ValueError, match="vary in 3 directions only"):
        fit_latent(CODES @ AXES, 5, coder=principal_components, **OPTIONS)
    with pytest.raises(ValueError, match=r"the point has shape \(4, 3\).*trained on \(3, 4\)"):
        latent.encode(jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"the code has shape \(2,\)"):
        latent.decode(jnp.zeros(2))
    with pytest.raises(ValueError, match=r"data have shape \(2000,\)"):
        fit_latent(CODES[:, 0], 1, **OPTIONS)
    with pytest.raises(TypeError, match="give one array"):
        fit_latent([FIELDS[0], FIELDS[1], FIELDS[2].T], 2, **OPTIONS)
    with pytest.raises(TypeError, match="give the points alone"):
        fit_latent((FIELDS, CODES), 3, **OPTIONS)
    with pytest.raises(ValueError, match="kl_weight is -1"):
        fit_autoencoder(FIELDS, 2, rng_key=jax.random.key(0), kl_weight=-1.0)

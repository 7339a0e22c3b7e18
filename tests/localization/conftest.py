"""Laws whose posterior means are known: mixtures of Gaussians and Gammas, enumerated spins."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln, xlogy

from numpyro_score.localization import (
    AnisotropicGaussian,
    BinaryChannel,
    Erasure,
    IsotropicGaussian,
    LinearObservation,
    ObservationProcess,
    PoissonCounts,
    WeightedPoints,
)

MEANS = np.array([[2.0, 1.0], [-1.0, -2.0], [1.5, -1.5]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
SD = 0.5
MATRIX = np.array([[1.0, 0.5], [0.0, 1.0], [1.0, -1.0]])
SCHEDULE = AnisotropicGaussian(
    np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.5, 0.3], [0.3, 2.0]]]), [0.0, 0.5]
)

NUM_SPINS = 8
SPINS = np.array(list(itertools.product([-1.0, 1.0], repeat=NUM_SPINS)))
FIELD = np.array([0.3, -0.2, 0.5, 0.0, -0.4, 0.1, 0.2, -0.1])
ISING = 0.7 * (SPINS[:, 1:] * SPINS[:, :-1]).sum(1) + 0.2 * SPINS.sum(1)
RANDOM_FIELD = 0.4 * (SPINS[:, 1:] * SPINS[:, :-1]).sum(1) + SPINS @ FIELD

GAMMA_SHAPES = np.array([2.0, 20.0])
GAMMA_RATES = np.array([2.0, 4.0])
GAMMA_WEIGHTS = np.array([0.4, 0.6])


@pytest.fixture(autouse=True, scope="module")
def runs_long(fast_programs: None) -> None:
    """Here programs take longer to run than to compile."""


class Distribution(NamedTuple):
    """A process, the posterior mean of a distribution, draws of it, and a grid that suits both."""

    process: ObservationProcess
    mean: Any
    draw: Any
    times: np.ndarray


def mixture_mean(process: Any) -> Any:
    """Posterior mean of the mixture under Gaussian observations of any kind."""

    def mean(y: jax.Array, t: Any) -> jax.Array:
        if isinstance(process, LinearObservation):
            known, pull = t * process.matrix.T @ process.matrix, process.matrix.T @ y
        elif isinstance(process, AnisotropicGaussian):
            known, pull = process.precision(t), y
        else:
            known, pull = t * jnp.eye(2), y
        # given the component the posterior is Gaussian
        precision = known + jnp.eye(2) / SD**2
        centres = jnp.linalg.solve(precision, (pull + MEANS / SD**2).T).T
        fit = 0.5 * jnp.sum(centres * (centres @ precision), 1) - 0.5 * (MEANS**2).sum(1) / SD**2
        return jax.nn.softmax(np.log(WEIGHTS) + fit) @ centres

    return mean


def draw_mixture(rng: np.random.Generator, num: int) -> np.ndarray:
    return MEANS[rng.choice(3, num, p=WEIGHTS)] + SD * rng.normal(size=(num, 2))


def gamma_mean(y: jax.Array, t: Any) -> jax.Array:
    """Posterior mean of a mixture of Gammas given counts, each coordinate on its own."""
    shape, rate = GAMMA_SHAPES + y[:, None], GAMMA_RATES + t
    fit = gammaln(shape) - xlogy(shape, rate) - gammaln(GAMMA_SHAPES)
    fit = fit + xlogy(GAMMA_SHAPES, GAMMA_RATES) + np.log(GAMMA_WEIGHTS)
    return jnp.sum(jax.nn.softmax(fit, axis=1) * shape / rate, 1)


def draw_gammas(rng: np.random.Generator, num: int) -> np.ndarray:
    which = rng.choice(2, (num, 2), p=GAMMA_WEIGHTS)
    return rng.gamma(GAMMA_SHAPES[which], 1 / GAMMA_RATES[which])


def draw_spins(log_weights: np.ndarray) -> Any:
    weights = np.exp(log_weights) / np.exp(log_weights).sum()
    return lambda rng, num: SPINS[rng.choice(len(SPINS), num, p=weights)]


GAUSSIAN_TIMES = np.concatenate([[0.0], np.geomspace(0.01, 400.0, 160)])
UNIFORM_TIMES = np.linspace(0.0, 1.0, 81)
GAUSSIANS = {
    "isotropic": IsotropicGaussian(2),
    "anisotropic": SCHEDULE,
    "linear": LinearObservation(MATRIX),
}
DISTRIBUTIONS = {
    **{
        name: Distribution(process, mixture_mean(process), draw_mixture, GAUSSIAN_TIMES)
        for name, process in GAUSSIANS.items()
    },
    "erasure of a chain": Distribution(
        Erasure(NUM_SPINS),
        WeightedPoints(Erasure(NUM_SPINS), SPINS, ISING),
        draw_spins(ISING),
        np.linspace(0.0, 1.0, 161),
    ),
    "channel of a chain": Distribution(
        BinaryChannel(NUM_SPINS),
        WeightedPoints(BinaryChannel(NUM_SPINS), SPINS, ISING),
        draw_spins(ISING),
        UNIFORM_TIMES,
    ),
    "channel of a random field": Distribution(
        BinaryChannel(NUM_SPINS),
        WeightedPoints(BinaryChannel(NUM_SPINS), SPINS, RANDOM_FIELD),
        draw_spins(RANDOM_FIELD),
        UNIFORM_TIMES,
    ),
    "erasure of a random field": Distribution(
        Erasure(NUM_SPINS),
        WeightedPoints(Erasure(NUM_SPINS), SPINS, RANDOM_FIELD),
        draw_spins(RANDOM_FIELD),
        np.linspace(0.0, 1.0, 161),
    ),
    "poisson": Distribution(PoissonCounts(2), gamma_mean, draw_gammas, GAUSSIAN_TIMES),
}


@pytest.fixture(params=DISTRIBUTIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)

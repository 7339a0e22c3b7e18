"""Five tasks of simulation-based inference: prior, simulator, and draws of the exact posterior.

Definitions of Lueckmann et al. (2021, arXiv:2101.04653). `gaussian_linear`, `gaussian_mixture` and
`two_moons` have exact draws; the posteriors of `slcp` and `bernoulli_glm` are drawn by long chains
of NUTS. The signs of two parameters of `slcp` are symmetric, so that its chain runs on one quadrant
and signs are drawn at random.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS


class Task(NamedTuple):
    """A task; `simulate(rng, theta) -> x`, `reference(rng, x, num) -> draws`."""

    prior: dist.Distribution
    simulate: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    reference: Callable[[np.random.Generator, np.ndarray, int], np.ndarray]


def box(limit: float, dim: int) -> dist.Distribution:
    """A uniform distribution on a cube."""
    return dist.Uniform(-limit, limit).expand([dim]).to_event(1)


def within(draw: Callable[[int], np.ndarray], limit: float, num: int) -> np.ndarray:
    """Exact draws, those outside of the prior's cube rejected."""
    parts, found = [], 0
    while found < num:
        theta = draw(4 * num)
        parts.append(theta[(np.abs(theta) < limit).all(axis=1)])
        found += len(parts[-1])
    return np.concatenate(parts)[:num]


def by_nuts(model: Callable[..., None], rng: np.random.Generator, num: int, *args: Any) -> Any:
    """Draws of a long chain, thinned by 5."""
    mcmc = MCMC(
        NUTS(model, target_accept_prob=0.95),
        num_warmup=2000,
        num_samples=5 * num,
        thinning=5,
        progress_bar=False,
    )
    mcmc.run(jax.random.key(int(rng.integers(2**31))), *args)
    return {name: np.asarray(x) for name, x in mcmc.get_samples().items()}


# -- Gaussian linear, Gaussian mixture, two moons


def linear_reference(rng: np.random.Generator, x: np.ndarray, num: int) -> np.ndarray:
    return x / 2 + np.sqrt(0.05) * rng.normal(size=(num, len(x)))


def mixture_simulate(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    return theta + (1.0 if rng.random() < 0.5 else 0.1) * rng.normal(size=2)


def mixture_reference(rng: np.random.Generator, x: np.ndarray, num: int) -> np.ndarray:
    def draw(size: int) -> np.ndarray:
        sd = np.where(rng.random((size, 1)) < 0.5, 1.0, 0.1)
        return x + sd * rng.normal(size=(size, 2))

    return within(draw, 10.0, num)


def crescent(rng: np.random.Generator, num: int) -> np.ndarray:
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, num), rng.normal(0.1, 0.01, num)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)


def moons_simulate(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    shift = np.array([-np.abs(theta.sum()), theta[1] - theta[0]]) / np.sqrt(2)
    return crescent(rng, 1)[0] + shift


def moons_reference(rng: np.random.Generator, x: np.ndarray, num: int) -> np.ndarray:
    def draw(size: int) -> np.ndarray:
        shift = np.sqrt(2) * (x - crescent(rng, size))
        shift = shift[shift[:, 0] <= 0]
        total = shift[:, 0] * rng.choice([-1.0, 1.0], len(shift))
        return np.stack([total - shift[:, 1], total + shift[:, 1]], axis=1) / 2

    return within(draw, 1.0, num)


# -- SLCP: four draws of a Gaussian in the plane


def slcp_moments(theta: Any, xp: Any) -> tuple[Any, Any]:
    first, second, rho = theta[2] ** 2, theta[3] ** 2, xp.tanh(theta[4])
    last = xp.sqrt(1 - rho**2) * second
    zero = xp.zeros_like(first)
    root = xp.stack([xp.stack([first, zero]), xp.stack([rho * second, last])])
    return theta[:2], root


def slcp_simulate(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    mean, root = slcp_moments(theta, np)
    return (mean + rng.normal(size=(4, 2)) @ root.T).ravel()


def slcp_model(x: Any) -> None:
    free = numpyro.sample("free", box(3.0, 3))
    positive = numpyro.sample("positive", dist.Uniform(0.0, 3.0).expand([2]).to_event(1))
    theta = jnp.concatenate([free[:2], positive, free[2:]])
    mean, root = slcp_moments(theta, jnp)
    root = root + 1e-6 * jnp.eye(2)
    numpyro.sample("x", dist.MultivariateNormal(mean, scale_tril=root), obs=x.reshape(4, 2))


def slcp_reference(rng: np.random.Generator, x: np.ndarray, num: int) -> np.ndarray:
    found = by_nuts(slcp_model, rng, num, jnp.asarray(x))
    positive = found["positive"] * rng.choice([-1.0, 1.0], (num, 2))
    return np.concatenate([found["free"][:, :2], positive, found["free"][:, 2:]], axis=1)


# -- Bernoulli GLM: 100 spikes, white noise filtered by 9 weights, and an offset

NUM_BINS, NUM_LAGS = 100, 9
STIMULUS = np.random.default_rng(0).normal(size=NUM_BINS + NUM_LAGS - 1)
DESIGN = np.stack(
    [np.ones(NUM_BINS)]
    + [STIMULUS[NUM_LAGS - 1 - lag : NUM_LAGS - 1 - lag + NUM_BINS] for lag in range(NUM_LAGS)],
    axis=1,
)


def smoothness() -> np.ndarray:
    """Covariance of the prior: the offset, and weights with small second differences."""
    i = np.arange(NUM_LAGS)
    f = np.diag(1 + np.sqrt(i / (NUM_LAGS - 1))) - 2 * np.eye(NUM_LAGS, k=-1)
    f = f + np.eye(NUM_LAGS, k=-2)
    covariance = np.zeros((NUM_LAGS + 1, NUM_LAGS + 1))
    covariance[0, 0], covariance[1:, 1:] = 2.0, np.linalg.inv(f.T @ f)
    return covariance


GLM_PRIOR = dist.MultivariateNormal(jnp.zeros(NUM_LAGS + 1), jnp.asarray(smoothness()))


def glm_simulate(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    spikes = rng.random(NUM_BINS) < 1 / (1 + np.exp(-DESIGN @ theta))
    return DESIGN.T @ spikes


def glm_model(x: Any) -> None:
    theta = numpyro.sample("theta", GLM_PRIOR)
    logits = jnp.asarray(DESIGN) @ theta
    numpyro.factor("likelihood", theta @ x - jax.nn.softplus(logits).sum())


def glm_reference(rng: np.random.Generator, x: np.ndarray, num: int) -> np.ndarray:
    return by_nuts(glm_model, rng, num, jnp.asarray(x))["theta"]


def linear_simulate(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    return theta + np.sqrt(0.1) * rng.normal(size=theta.shape)


LINEAR_PRIOR = dist.Normal(0.0, float(np.sqrt(0.1))).expand([10]).to_event(1)

TASKS = {
    "gaussian_linear": Task(LINEAR_PRIOR, linear_simulate, linear_reference),
    "gaussian_mixture": Task(box(10.0, 2), mixture_simulate, mixture_reference),
    "two_moons": Task(box(1.0, 2), moons_simulate, moons_reference),
    "slcp": Task(box(3.0, 5), slcp_simulate, slcp_reference),
    "bernoulli_glm": Task(GLM_PRIOR, glm_simulate, glm_reference),
}

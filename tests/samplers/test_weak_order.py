"""Weak orders without Monte Carlo: the distribution of a sampler in one dimension, by quadrature.

A random step takes a density on a grid to the next by its Gaussian kernel; for a two-step method
the density is that of two neighbouring points. Deterministic steps move quadrature nodes. The start
is the exact distribution, so that the only error is that of the steps.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import OU
from numpyro_score.samplers import (
    LinearSteps,
    ancestral,
    ddim,
    dpm_solver,
    dpm_solver_sde,
    euler_maruyama,
    heun,
    reverse_diffusion,
    uniform_times,
)
from numpyro_score.scores import GaussianMixtureScore

NOISE, END = OU(end_time=1.5), 0.1
NODES = np.linspace(-8.0, 8.0, 161)
FINE_NODES = np.linspace(-8.0, 8.0, 3201)  # the flow is steep between modes
WIDTH = NODES[1] - NODES[0]
ORDERS = {
    "euler_maruyama": (euler_maruyama, 1),
    "reverse_diffusion": (reverse_diffusion, 1),
    "ancestral": (ancestral, 1),
    "dpm_solver_sde": (dpm_solver_sde, 2),
    "ddim": (ddim, 1),
    "ddim, half random": (partial(ddim, eta=0.5), 1),
    "heun": (heun, 2),
    "dpm_solver": (dpm_solver, 2),
}


def model() -> GaussianMixtureScore:
    return GaussianMixtureScore([0.3, 0.7], [[-2.0], [1.5]], np.array([0.4, 0.6]), NOISE)


def distribution(oracle: GaussianMixtureScore, t: float, nodes: np.ndarray = NODES) -> np.ndarray:
    """Mass on the nodes."""
    log_probs = jax.vmap(oracle.log_prob, (0, None))(jnp.asarray(nodes)[:, None], t)
    return (nodes[1] - nodes[0]) * np.exp(np.asarray(log_probs))


def summary(oracle: GaussianMixtureScore, x: Any, mass: Any) -> np.ndarray:
    """Mean, second moment and mode weight (the expected responsibility of one component)."""
    logs = jax.vmap(oracle.component_log_probs, (0, None))(jnp.asarray(x)[:, None], END)
    share = np.asarray(jax.nn.softmax(logs, axis=1))[:, 0]
    return np.array([mass @ x, mass @ x**2, mass @ share])


def kernel(y: Any, mean: Any, sd: Any) -> Any:
    return WIDTH * jnp.exp(-0.5 * ((y - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))


@eqx.filter_jit
def spread(oracle: Any, row: LinearSteps, last_time: Any, joint: Any) -> Any:
    """Masses of (present, previous) points one step on; previous is of no weight at first."""
    nodes = jnp.asarray(NODES)

    def denoised(x: Any, time: Any) -> Any:
        return oracle.denoise(x[None], time)[0]

    def step(x: Any, memory: Any, z: float) -> Any:
        kept = None if memory is None else memory[None]
        return row.advance(oracle, x[None], kept, jnp.full(1, z))[0][0]

    sd = step(nodes[0], jnp.zeros(()), 1.0) - step(nodes[0], jnp.zeros(()), 0.0)
    if row.recall is None:
        mean = jax.vmap(lambda x: step(x, None, 0.0))(nodes)
        return kernel(nodes[:, None], mean, sd) @ joint
    memory = jax.vmap(lambda x: denoised(x, last_time))(nodes)
    mean = jax.vmap(lambda x: jax.vmap(lambda m: step(x, m, 0.0))(memory))(nodes)  # x, previous

    def onto(y: Any) -> Any:
        return jnp.sum(joint * kernel(y, mean, sd), axis=1)

    return jax.lax.map(onto, nodes)


def error(oracle: GaussianMixtureScore, method: Any, num_steps: int) -> np.ndarray:
    """How far mean, second moment and mode weight are off at the end."""
    steps = method(NOISE, uniform_times(NOISE, num_steps, end=END))
    truth = summary(oracle, NODES, distribution(oracle, END))
    mass, rows = distribution(oracle, 1.0), len(steps.time)
    row_of = [jax.tree.map(lambda a, i=i: a[i], steps) for i in range(rows)]
    if not steps.is_random:
        x = jnp.asarray(FINE_NODES)[:, None]
        memory = steps.remember(x)
        for row in row_of:
            x, memory = push(oracle, row, x, memory)
        return summary(oracle, np.asarray(x)[:, 0], distribution(oracle, 1.0, FINE_NODES)) - truth
    joint: Any = jnp.asarray(mass)
    if steps.recall is not None:  # the first step's factor of the past is 0
        joint = joint[:, None] / len(NODES) * jnp.ones(len(NODES))
    for i, row in enumerate(row_of):
        joint = spread(oracle, row, row_of[max(i - 1, 0)].time, joint)
    final = joint if joint.ndim == 1 else joint.sum(axis=1)
    return summary(oracle, NODES, np.asarray(final)) - truth


@eqx.filter_jit
def push(oracle: Any, row: Any, x: Any, memory: Any) -> Any:
    return jax.vmap(lambda x, m: row.advance(oracle, x, m, None))(x, memory)


@pytest.mark.parametrize("name", ORDERS)
def test_weak_order(name: str, x64: None) -> None:
    """Twice the steps, an error 2^order times smaller, in each of the three summaries."""
    method, order = ORDERS[name]
    oracle = model()
    coarse, fine = (error(oracle, method, num) for num in (48, 96))
    measured = np.log2(abs(coarse / fine))
    assert (measured > order - 0.25).all(), measured
    assert (measured < order + 0.6).all(), measured


def test_a_wrong_scale_of_the_noise_has_no_order(x64: None) -> None:
    def wrong(noise: Any, times: Any) -> LinearSteps:
        right = dpm_solver_sde(noise, times)
        return eqx.tree_at(lambda s: s.noise, right, replace_fn=lambda e: 1.05 * e)

    oracle = model()
    coarse, fine = (error(oracle, wrong, num) for num in (48, 96))
    assert np.log2(abs(coarse / fine))[1] < 0.5

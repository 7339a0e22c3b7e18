"""Every public kernel, once: what tests of both protocols go through.

`test_kernel_table.py` fails where a public kernel is missing here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from blackjax import GenerateSamplingAPI
from jax.flatten_util import ravel_pytree
from numpyro.infer.mcmc import MCMCKernel

import numpyro_score as ns
from numpyro_score.kernels.proposals import (
    IndependentProposal,
    from_distribution,
    gaussian_random_walk,
)
from numpyro_score.noise import VE
from numpyro_score.samplers.proposals import flow_proposal
from numpyro_score.scores import ConsistencyModel, gaussian_score

# -- one chain, BlackJAX's protocol ---------------------------------------------------------------

COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
PRECISION = np.linalg.inv(COVARIANCE)
TEMPLATE = {"a": jnp.zeros(2), "b": jnp.zeros(())}
UNRAVEL = ravel_pytree(TEMPLATE)[1]


def logdensity(position: Any) -> Any:
    x = ravel_pytree(position)[0]
    return -0.5 * x @ jnp.asarray(PRECISION, x.dtype) @ x


def multiplicative(rng_key: Any, position: Any) -> Any:
    x, unravel = ravel_pytree(position)
    log_factor = 0.3 * jax.random.normal(rng_key, x.shape, x.dtype)
    return unravel(x * jnp.exp(log_factor)), jnp.sum(log_factor)


def lazy_drift(position: Any) -> Any:
    return jax.tree.map(lambda x: 0.1 - 0.4 * x, position)


def independent(is_tree: bool) -> IndependentProposal:
    flat = from_distribution(dist.StudentT(5.0, 0.0, 1.5).expand([3]).to_event(1))
    if not is_tree:
        return flat

    def draw(rng_key: Any) -> Any:
        x, log_q = flat.sample_and_log_prob(rng_key)
        return UNRAVEL(x), log_q

    return IndependentProposal(draw, lambda x: flat.log_prob(ravel_pytree(x)[0]))


class Kernel(NamedTuple):
    """A kernel, its parameters given whether positions are trees, and what it evaluates."""

    api: GenerateSamplingAPI
    parameters: Callable[[bool], dict[str, Any]]
    # gradients that a step evaluates; None where that varies
    num_grad: int | None
    # how often tracing a step evaluates the target's density
    num_traces: int = 1


LADDER = ns.kernels.Ladder(jnp.array([0.0, 0.3, 1.0]), jnp.full(3, 0.3), jnp.ones((3, 3)))

KERNELS: dict[str, Kernel] = {
    "mh-gaussian": Kernel(
        ns.metropolis_hastings,
        lambda _: {"proposal": gaussian_random_walk(0.8, jnp.asarray(COVARIANCE, jnp.float32))},
        num_grad=0,
    ),
    "mh-multiplicative": Kernel(
        ns.metropolis_hastings, lambda _: {"proposal": multiplicative}, num_grad=0
    ),
    "random_walk": Kernel(ns.random_walk, lambda _: {"step_size": 0.7}, num_grad=0),
    "random_walk-hot": Kernel(
        ns.random_walk, lambda _: {"step_size": 0.7, "temperature": 2.0}, num_grad=0
    ),
    "independence": Kernel(
        ns.independence, lambda is_tree: {"proposal": independent(is_tree)}, num_grad=0
    ),
    "mala": Kernel(ns.mala, lambda _: {"step_size": 0.3}, num_grad=1),
    "mala-diagonal": Kernel(
        ns.mala,
        lambda _: {"step_size": 0.3, "inverse_mass_matrix": np.diag(COVARIANCE)},
        num_grad=1,
    ),
    "mala-dense": Kernel(
        ns.mala, lambda _: {"step_size": 0.5, "inverse_mass_matrix": COVARIANCE}, num_grad=1
    ),
    "mala-drift": Kernel(ns.mala, lambda _: {"step_size": 0.3, "drift_fn": lazy_drift}, num_grad=1),
    "mala-annealed": Kernel(
        ns.mala,
        lambda _: {"step_size": 0.3, "temperature": lambda step: 1.0 / (1 + step)},
        num_grad=1,
    ),
    "ghmc": Kernel(
        ns.ghmc,
        lambda _: {"step_size": 0.8, "inverse_mass_matrix": COVARIANCE, "friction": 0.5},
        num_grad=1,
    ),
    "local_mala": Kernel(
        ns.local_mala,
        lambda _: {"step_size": 0.5, "inverse_mass_matrix": COVARIANCE},
        num_grad=None,
    ),
    "local_mams": Kernel(
        ns.local_mams,
        lambda _: {"step_size": 0.8, "inverse_mass_matrix": COVARIANCE, "mean_num_steps": 1.0},
        num_grad=None,
        num_traces=2,
    ),
    "mams": Kernel(
        ns.mams,
        lambda _: {"step_size": 0.8, "inverse_mass_matrix": COVARIANCE, "mean_num_steps": 1.0},
        num_grad=2,
        num_traces=2,
    ),
    "ula": Kernel(
        ns.ula, lambda _: {"step_size": 0.2, "inverse_mass_matrix": COVARIANCE}, num_grad=1
    ),
    "ula-score": Kernel(ns.ula, lambda _: {"step_size": 0.2, "score_fn": lazy_drift}, num_grad=1),
    "underdamped_langevin": Kernel(
        ns.underdamped_langevin,
        lambda _: {"step_size": 0.2, "inverse_mass_matrix": COVARIANCE, "friction": 0.5},
        num_grad=1,
    ),
    "score_metropolis": Kernel(
        ns.score_metropolis,
        lambda _: {"step_size": 0.3, "score_fn": lazy_drift, "num_nodes": 3},
        num_grad=4,
        num_traces=0,
    ),
    "global_local": Kernel(
        ns.global_local,
        lambda is_tree: {"step_size": 0.3, "proposal": independent(is_tree), "num_local": 2},
        num_grad=3,
        num_traces=2,
    ),
    "parallel_tempering": Kernel(
        ns.parallel_tempering,
        lambda _: {"reference": independent(False), "ladder": LADDER, "num_local": 2},
        num_grad=6,
        # one of them for its shape alone
        num_traces=4,
    ),
}

# -- NumPyro's protocol ---------------------------------------------------------------------------

# scores of the posterior's two unconstrained coordinates
SCORE = gaussian_score(
    np.array([0.8, 0.1]), np.array([[0.3, -0.1], [-0.1, 0.12]]), VE(sigma_min=0.01, sigma_max=20.0)
)


class Entry(NamedTuple):
    """A NumPyro kernel of a model with two unconstrained coordinates, and what it has to say."""

    make: Callable[[Any], MCMCKernel]
    exact: bool
    is_independent: bool = False
    # evaluations of a score or a gradient a draw; None where that varies
    num_grad: int | None = 1


def global_local_of(model: Any, **settings: Any) -> MCMCKernel:
    proposal = flow_proposal(SCORE, SCORE.noise, 2, num_steps=4)
    return ns.GlobalLocal.from_score(model, proposal, global_every=2, **settings)


CLASSES: dict[str, Entry] = {
    "MetropolisHastings": Entry(
        lambda m: ns.MetropolisHastings(m, proposal=gaussian_random_walk(0.7)), True, num_grad=0
    ),
    "RandomWalkMetropolis": Entry(ns.RandomWalkMetropolis, True, num_grad=0),
    "IndependenceMetropolis": Entry(ns.IndependenceMetropolis, True, num_grad=0),
    "MALA": Entry(ns.MALA, True),
    "MALA-local": Entry(lambda m: ns.MALA(m, local_step_size=True), True, num_grad=None),
    "MAMS": Entry(ns.MAMS, True, num_grad=None),
    "MAMS-local": Entry(lambda m: ns.MAMS(m, local_step_size=True), True, num_grad=None),
    "GHMC": Entry(ns.GHMC, True),
    "ULA": Entry(ns.ULA, False),
    "UnderdampedLangevin": Entry(ns.UnderdampedLangevin, False),
    "ScoreMetropolis": Entry(
        lambda _: ns.ScoreMetropolis(lazy_drift, num_nodes=3), False, num_grad=4
    ),
    "BlackJAXKernel": Entry(
        lambda m: ns.BlackJAXKernel(blackjax.hmc, m, parameters={"num_integration_steps": 3}),
        True,
        num_grad=3,
    ),
    "BlackJAXKernel-mclmc": Entry(
        lambda m: ns.BlackJAXKernel(blackjax.mclmc, m, parameters={"L": 1.5, "step_size": 0.4}),
        False,
        num_grad=2,
    ),
    "GlobalLocal": Entry(global_local_of, True),
    "GlobalLocal-ula": Entry(
        lambda m: global_local_of(m, local=ns.ula, step_size=0.1, adapt_step_size=False), False
    ),
    "GlobalLocal-mclmc": Entry(
        lambda m: global_local_of(
            m, local=blackjax.mclmc, local_parameters={"L": 1.5, "step_size": 0.4}
        ),
        False,
        num_grad=None,
    ),
    "ParallelTempering": Entry(
        lambda m: ns.ParallelTempering(m, num_particles=16), True, num_grad=None
    ),
    "TemperedSMC": Entry(lambda m: ns.TemperedSMC(m, num_particles=16), False, num_grad=None),
    "ReverseSDE": Entry(
        lambda m: ns.ReverseSDE(m, score=SCORE, num_steps=5), False, True, num_grad=5
    ),
    "ProbabilityFlow": Entry(
        lambda m: ns.ProbabilityFlow(m, score=SCORE, num_steps=5), False, True, num_grad=None
    ),
    "AnnealedLangevin": Entry(
        lambda m: ns.AnnealedLangevin(m, score=SCORE, steps_per_level=1), False, True, num_grad=None
    ),
    "Consistency": Entry(
        lambda m: ns.Consistency(m, function=ConsistencyModel(SCORE), num_steps=2),
        False,
        True,
        num_grad=2,
    ),
    "StochasticLocalization": Entry(
        lambda m: ns.StochasticLocalization(
            m, num_times=4, num_inner_chains=4, num_steps=1, local_sd=0.5
        ),
        False,
        True,
        num_grad=None,
    ),
}

"""Accept or refuse: the rule itself, numbers that are not finite, and independent candidates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import kstest

import numpyro_score as ns
from numpyro_score.kernels.metropolis import accept_reject
from numpyro_score.kernels.proposals import (
    IndependentProposal,
    from_distribution,
    gaussian_random_walk,
)
from numpyro_score.targets import mixture_1d

# -- the rule -------------------------------------------------------------------------------------

INF, NAN = float("inf"), float("nan")

# log ratio, log density, temperature, valid -> acceptance probability, divergent
RULES = [
    (0.5, 0.0, 1.0, True, 1.0, False),
    (np.log(0.3), 0.0, 1.0, True, 0.3, False),
    (np.log(0.3), 0.0, 2.0, True, np.sqrt(0.3), False),
    (-1e4, 0.0, 1.0, True, 0.0, False),
    (1e-3, 0.0, 0.0, True, 1.0, False),
    (-1e-3, 0.0, 0.0, True, 0.0, False),
    (0.0, 0.0, 0.0, True, 0.0, False),
    (-INF, -INF, 1.0, True, 0.0, False),
    (-INF, -INF, 1.0, False, 0.0, False),  # outside of the support nothing else counts
    (NAN, -INF, 1.0, True, 0.0, False),
    (NAN, NAN, 1.0, True, 0.0, True),
    (INF, INF, 1.0, True, 0.0, True),
    (0.5, 0.0, 1.0, False, 0.0, True),
    (NAN, 0.0, 1.0, True, 0.0, True),
    (-INF, 0.0, 1.0, True, 0.0, False),  # a one-way move: q(x | x') = 0
]


@pytest.mark.parametrize(
    ("log_ratio", "logdensity", "temperature", "is_valid", "probability", "is_divergent"), RULES
)
def test_accept_reject(
    log_ratio: float,
    logdensity: float,
    temperature: float,
    is_valid: bool,
    probability: float,
    is_divergent: bool,
) -> None:
    def decide(key: Any) -> Any:
        return accept_reject(
            key,
            jnp.array(0.0),
            jnp.array(1.0),
            log_ratio=jnp.asarray(log_ratio, jnp.float32),
            logdensity=jnp.asarray(logdensity, jnp.float32),
            temperature=temperature,
            is_valid=is_valid,
        )

    state, info = jax.vmap(decide)(jax.random.split(jax.random.key(0), 4_000))
    np.testing.assert_allclose(info.acceptance_rate, probability, rtol=1e-6)
    assert (np.asarray(info.is_divergent) == is_divergent).all()
    np.testing.assert_array_equal(state, np.asarray(info.is_accepted, float))
    frequency = float(info.is_accepted.mean())
    assert abs(frequency - probability) <= 4.5 * np.sqrt(probability * (1 - probability) / 4_000)


# -- numbers that are not finite ------------------------------------------------------------------


def walled(value: float) -> Any:
    """A unit Gaussian below 1, and `value` above."""
    return lambda x: jnp.where(jnp.max(x) > 1, value, -0.5 * jnp.sum(x**2))


def finite_with_nan_gradient(x: Any) -> Any:
    # sqrt at 0: the value is 0 and the derivative infinity times 0
    bad = jnp.sqrt(jnp.where(jnp.max(x) > 1, 0.0 * jnp.sum(x), 1.0))
    return -0.5 * jnp.sum(x**2) + jnp.where(jnp.max(x) > 1, bad, 0.0)


def wide() -> Any:
    return from_distribution(dist.Normal(0.0, 2.0).expand([1]).to_event(1))


MOVES = {
    "metropolis_hastings": lambda f: ns.metropolis_hastings(f, gaussian_random_walk(1.0)),
    "random_walk": lambda f: ns.random_walk(f, 1.0),
    "independence": lambda f: ns.independence(f, wide()),
    "mala": lambda f: ns.mala(f, 0.5),
    "mala-cold": lambda f: ns.mala(f, 0.5, temperature=0.5),
    "ula": lambda f: ns.ula(f, 0.5),
}
WALLS = {"nan": (walled(NAN), True), "+inf": (walled(INF), True), "-inf": (walled(-INF), False)}


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("move", MOVES)
def test_walls_are_not_crossed(move: str, wall: str, run_chains: Any) -> None:
    fn, is_divergent = WALLS[wall]
    check_wall(MOVES[move](fn), is_divergent, run_chains)


@pytest.mark.parametrize("move", ["mala", "ula"])
def test_a_gradient_that_is_no_number_is_a_wall(move: str, run_chains: Any) -> None:
    value, grad = jax.value_and_grad(finite_with_nan_gradient)(jnp.array([1.5]))
    assert jnp.isfinite(value)
    assert not jnp.isfinite(grad).all()
    check_wall(MOVES[move](finite_with_nan_gradient), True, run_chains)


def test_a_score_that_is_no_number_is_a_wall(run_chains: Any) -> None:
    score = ns.ula(score_fn=lambda x: jnp.where(x > 1, jnp.nan, -x), step_size=0.5)
    check_wall(score, True, run_chains)


def check_wall(algorithm: Any, is_divergent: bool, run_chains: Any) -> None:
    start = jnp.full((200, 1), 0.7)
    run = run_chains(algorithm, 0, start, 20)
    positions = np.concatenate([start[None], run.positions])
    moved = np.diff(positions, axis=0).any(axis=2)
    info = jax.tree.map(np.asarray, run.info)
    assert np.isfinite(positions).all()
    assert positions.max() <= 1
    assert info.is_divergent.any() == is_divergent
    assert not moved[info.is_divergent].any()
    assert (info.acceptance_rate[info.is_divergent] == 0).all()
    assert np.isfinite(info.acceptance_rate).all()
    np.testing.assert_array_equal(moved, info.is_accepted)
    assert 0.1 < moved.mean() < 1  # some moves were made and some refused
    if hasattr(run.final, "step"):
        assert (np.asarray(run.final.step) == 20).all()  # a refused move is a step too


# -- independent candidates -----------------------------------------------------------------------


def test_a_covering_proposal_is_exact(run_chains: Any) -> None:
    """From one bad start, through accept/reject alone: the mixture `mixture_1d`."""
    target = mixture_1d()
    proposal = from_distribution(dist.StudentT(3.0, 1.0, 4.0).expand([1]).to_event(1))
    algorithm = ns.independence(target.logdensity_fn, proposal)
    n = 2_000
    run = run_chains(algorithm, 0, jnp.full((n, 1), 9.0), 40)
    draws = np.asarray(run.final.position)[:, 0]
    reference = np.asarray(target.sample(jax.random.key(5), 100_000)["x"])[:, 0]
    assert kstest(draws, reference).pvalue > 1e-4
    assert float(run.info.is_accepted.mean()) > 0.3
    weight = jax.vmap(jax.vmap(target.logdensity_fn))(run.positions) - jax.vmap(
        jax.vmap(proposal.log_prob)
    )(run.positions)
    np.testing.assert_allclose(run.info.log_weight, weight, rtol=1e-4, atol=1e-4)


def test_the_target_as_its_own_proposal_is_always_accepted(run_chains: Any) -> None:
    distribution = dist.Normal(1.0, 2.0).expand([2]).to_event(1)
    algorithm = ns.independence(
        lambda x: distribution.log_prob(x) + 3.0, from_distribution(distribution)
    )
    run = run_chains(algorithm, 0, jnp.zeros((500, 2)), 20)
    np.testing.assert_allclose(run.info.acceptance_rate, 1.0, atol=1e-5)
    np.testing.assert_allclose(run.info.log_weight, 3.0, atol=1e-5)


def unit_interval() -> IndependentProposal:
    def log_prob(x: Any) -> Any:
        return jnp.where(jnp.all((x >= 0) & (x <= 1)), 0.0, -jnp.inf)

    def draw(rng_key: Any) -> Any:
        return jax.random.uniform(rng_key, (1,)), jnp.zeros(())

    return IndependentProposal(draw, log_prob)


UNIFORM = from_distribution(dist.Uniform(0.0, 1.0).expand([1]).to_event(1))


@pytest.mark.filterwarnings("ignore:Out-of-support values")  # NumPyro's, of what is asked here
@pytest.mark.parametrize("proposal", [unit_interval(), UNIFORM])
def test_a_start_outside_of_the_proposal_is_refused(proposal: IndependentProposal) -> None:
    algorithm = ns.independence(lambda x: -0.5 * jnp.sum(x**2), proposal)
    with pytest.raises(ValueError, match=r"(?s)-inf at the chain's start.*Widen the proposal"):
        algorithm.init(jnp.array([2.0]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("place", "expected"), [(0.5, -np.log(2)), (3.0, -np.inf)])
def test_a_proposal_with_traced_bounds_takes_a_numpy_start(place: float, expected: float) -> None:
    """As where a proposal is an argument of a compiled function, and the start a constant of it."""

    @jax.jit
    def log_q(distribution: dist.Uniform) -> Any:
        algorithm = ns.independence(
            lambda x: jnp.zeros(()), from_distribution(distribution.expand([1]))
        )
        return algorithm.init(np.array([place])).log_proposal

    distribution = dist.Uniform(0.0, 2.0 * jnp.ones(()))
    np.testing.assert_allclose(log_q(distribution), expected)


def test_a_start_that_is_not_covered_holds_the_chain_and_says_so(run_chains: Any) -> None:
    """Inside of a trace nothing is raised; the weight of +inf tells."""
    algorithm = ns.independence(lambda x: -0.5 * jnp.sum(x**2), unit_interval())
    run = run_chains(algorithm, 0, jnp.full((5, 1), 2.0), 5)
    assert (np.asarray(run.positions) == 2.0).all()
    assert np.isposinf(np.asarray(run.info.log_weight)).all()

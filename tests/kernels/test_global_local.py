"""Local moves and a jump in one call: exact draws of two modes stay exact, and change modes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from numpyro_score.kernels import global_local
from numpyro_score.kernels.proposals import IndependentProposal, from_distribution

NUM_CHAINS, WEIGHT = 20_000, 0.3
MEANS, SDS = np.array([-3.0, 3.0]), np.array([1.0, 0.5])
PROPOSAL = from_distribution(dist.StudentT(5.0, 0.0, 3.0).expand([1]).to_event(1))


def logdensity(x: Any) -> Any:
    log_terms = -0.5 * ((x[0] - MEANS) / SDS) ** 2 - jnp.log(SDS)
    return jax.nn.logsumexp(log_terms + jnp.log(jnp.array([WEIGHT, 1 - WEIGHT])))


def draw(num: int) -> Any:
    rng = np.random.default_rng(0)
    which = (rng.random(num) > WEIGHT).astype(int)
    return (MEANS[which] + SDS[which] * rng.normal(size=num)).astype(np.float32)[:, None]


def z_of_mode_weight(draws: Any) -> float:
    gap = float((np.asarray(draws) < 0).mean()) - WEIGHT
    return abs(gap) / np.sqrt(WEIGHT * (1 - WEIGHT) / NUM_CHAINS)


def z_of_second_moment(draws: Any) -> float:
    exact = draw(1_000_000).astype(float) ** 2
    squares = np.asarray(draws, float) ** 2
    return abs(squares.mean() - exact.mean()) / (exact.std() / np.sqrt(NUM_CHAINS))


def test_exact_draws_stay_exact_and_change_modes(run_chains: Any) -> None:
    start = draw(NUM_CHAINS)
    run = run_chains(global_local(logdensity, 0.3, proposal=PROPOSAL), 1, jnp.asarray(start), 6)
    assert z_of_mode_weight(run.final.position) < 4
    assert z_of_second_moment(run.final.position) < 4
    assert float(run.info.global_acceptance_rate.mean()) > 0.2
    assert float(run.info.acceptance_rate.mean()) > 0.5
    changed = np.sign(np.asarray(run.final.position)) != np.sign(start)
    assert changed.mean() > 0.2


def test_a_wrong_density_of_the_proposal_is_found(run_chains: Any) -> None:
    def skew(log_q: Any, x: Any) -> Any:
        return log_q + 0.3 * (x[0] > 0)

    def sample_and_log_prob(rng_key: Any) -> Any:
        x, log_q = PROPOSAL.sample_and_log_prob(rng_key)
        return x, skew(log_q, x)

    wrong = IndependentProposal(sample_and_log_prob, lambda x: skew(PROPOSAL.log_prob(x), x))
    algorithm = global_local(logdensity, 0.3, proposal=wrong)
    run = run_chains(algorithm, 1, jnp.asarray(draw(NUM_CHAINS)), 6)
    assert z_of_mode_weight(run.final.position) > 4


def test_no_local_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="num_local is 0"):
        global_local(logdensity, 0.3, proposal=PROPOSAL, num_local=0)

"""Replicas that start from their distributions keep them, and carry the chain between modes."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from numpyro_score.kernels import Ladder, parallel_tempering
from numpyro_score.kernels.proposals import from_distribution

NUM_CHAINS, SIGMAS = 20_000, 4.0
REFERENCE = from_distribution(dist.Normal(0.0, 4.0).expand([1]).to_event(1))
BETAS = np.array([0.0, 0.15, 0.45, 1.0])
LADDER = Ladder(jnp.asarray(BETAS, jnp.float32), jnp.full(4, 0.3), jnp.ones((4, 1)))
GRID = np.linspace(-16.0, 16.0, 20_001)


def logdensity(x: Any) -> Any:
    """Modes at -3 and 3, the left one narrow; not normalized."""
    left = jnp.log(0.3) - jnp.log(0.5) - 2 * (x[0] + 3) ** 2
    return jnp.logaddexp(left, jnp.log(0.7) - 0.5 * (x[0] - 3) ** 2) + 2.0


def distributions() -> Any:
    """Probabilities on the grid of each rung."""
    target = np.asarray(jax.vmap(lambda x: logdensity(x[None]))(GRID), float)
    logs = (1 - BETAS[:, None]) * (-0.5 * (GRID / 4) ** 2) + BETAS[:, None] * target
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


STATISTICS = [lambda x: x, lambda x: x**2, lambda x: x < 0]


def z_scores(replicas: Any) -> Any:
    """`(statistic, rung)`: standard errors by which the replicas are off."""
    found = []
    for statistic in STATISTICS:
        values, probabilities = statistic(GRID).astype(float), distributions()
        mean = probabilities @ values
        sd = np.sqrt(probabilities @ values**2 - mean**2)
        ours = statistic(np.asarray(replicas)[..., 0]).mean(axis=0)
        found.append((ours - mean) / (sd / np.sqrt(NUM_CHAINS)))
    return np.abs(found)


@pytest.fixture(scope="module")
def start() -> Any:
    rng = np.random.default_rng(0)
    rungs = [np.interp(rng.random(NUM_CHAINS), np.cumsum(p), GRID) for p in distributions()]
    return jnp.asarray(np.stack(rungs, 1)[..., None], jnp.float32)


def run(start: Any, num_steps: int = 4) -> Any:
    algorithm = parallel_tempering(logdensity, reference=REFERENCE, ladder=LADDER, num_local=2)

    def chain(replicas: Any, key: Any) -> Any:
        state = algorithm.init(replicas[-1])
        ratios = jax.vmap(lambda x: logdensity(x) - REFERENCE.log_prob(x))(replicas)
        state = state._replace(replicas=replicas, log_ratios=ratios)

        def one(state: Any, key: Any) -> Any:
            return algorithm.step(key, state)

        return jax.lax.scan(one, state, jax.random.split(key, num_steps))

    return jax.jit(jax.vmap(chain))(start, jax.random.split(jax.random.key(1), NUM_CHAINS))


def test_all_replicas_keep_their_distributions_and_the_chain_changes_modes(start: Any) -> None:
    state, info = run(start)
    assert (z_scores(start) < SIGMAS).all()
    assert (z_scores(state.replicas) < SIGMAS).all()
    np.testing.assert_array_equal(state.position, state.replicas[:, -1])
    np.testing.assert_allclose(
        state.logdensity, jax.vmap(logdensity)(state.position), rtol=1e-3, atol=1e-3
    )
    assert (np.sign(state.position) != np.sign(start[:, -1])).mean() > 0.05
    assert 0.3 < info.swap_acceptance_rate.mean() < 0.95
    assert 0.3 < info.acceptance_rate.mean() < 0.99
    assert int(info.num_integration_steps[0, 0]) == 3 * 3
    assert not info.is_divergent.any()


def test_an_exchange_at_the_wrong_odds_is_found(start: Any, monkeypatch: Any) -> None:
    # the package's name for the module is that of the kernel
    module = importlib.import_module("numpyro_score.kernels.parallel_tempering")
    exchange = module.exchange

    def wrong(rng_key: Any, replicas: Any, log_ratios: Any, betas: Any, is_odd: Any) -> Any:
        taken, _, *rest = exchange(rng_key, replicas, 0.5 * log_ratios, betas, is_odd)
        return taken, jax.vmap(lambda x: logdensity(x) - REFERENCE.log_prob(x))(taken), *rest

    monkeypatch.setattr(module, "exchange", wrong)
    state, _ = run(start)
    assert z_scores(state.replicas).max() > SIGMAS


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        (LADDER._replace(inverse_temperatures=jnp.array([0.1, 0.2, 0.5, 1.0])), "from 0.1 to 1"),
        (LADDER._replace(inverse_temperatures=jnp.array([0.0, 0.5, 0.4, 1.0])), "must rise"),
        (LADDER._replace(step_sizes=jnp.ones(3)), r"lengths \[4, 3, 4\]"),
    ],
)
def test_a_ladder_that_is_none_is_refused(ladder: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parallel_tempering(logdensity, reference=REFERENCE, ladder=ladder)


def test_no_local_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="num_local is 0"):
        parallel_tempering(logdensity, reference=REFERENCE, ladder=LADDER, num_local=0)

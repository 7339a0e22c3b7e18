"""The pooled warmup stepped by hand: its phases, its restarts, what it learns, what it compiles."""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.adaptation import pooled
from numpyro_score.adaptation.metric import fisher, sample_covariance
from numpyro_score.adaptation.pooled import PooledWarmup, pooled_warmup
from numpyro_score.adaptation.state import PooledState
from numpyro_score.adaptation.windows import (
    CLOSE,
    FIRST_OPENING_WINDOW,
    FIRST_WINDOW,
    OPENING,
)
from numpyro_score.kernels.mala import optimal_step_size
from numpyro_score.targets import ill_gaussian

warmup_of = partial(
    pooled_warmup,
    target_acceptance_rate=0.574,
    estimator=fisher,
    is_dense=False,
    optimal_step_size=optimal_step_size,
)


def dry_run(
    functions: PooledWarmup, num_chains: int, num_warmup: Any, num_steps: int
) -> tuple[PooledState, PooledState]:
    """The warmup on draws that do not move, each step's state and the last one."""
    x = jnp.linspace(-1.0, 1.0, num_chains)[:, None] * jnp.ones(2)

    def one(state: PooledState, key: Any) -> tuple[PooledState, PooledState]:
        new, _ = functions.update(
            state, key, x, -x, -jnp.sum(x**2, axis=1), jnp.full(num_chains, 0.574)
        )
        return new, state

    state = functions.init(x, -x, 0.5, None, num_warmup)
    last, states = jax.lax.scan(one, state, jax.random.split(jax.random.key(0), num_steps))
    return last, states


LONGEST = 1000


@lru_cache
def window_run(num_chains: int) -> Any:
    """One program for every `num_warmup`."""
    return jax.jit(partial(dry_run, warmup_of(), num_chains, num_steps=LONGEST))


def window_ends(num_chains: int, num_warmup: int) -> list[int]:
    """Steps after which a window closed."""
    last, states = window_run(num_chains)(jnp.asarray(num_warmup))
    ends = np.append(np.asarray(states.window_end), int(last.window_end))
    return [step for step in range(1, len(ends)) if ends[step - 1] == step]


@pytest.mark.parametrize("num_chains", [1, 4, 64])
@pytest.mark.parametrize("num_warmup", [0, 1, 5, 20, 100, 300, LONGEST])
def test_windows_cover_the_phases(num_warmup: int, num_chains: int) -> None:
    ends = window_ends(num_chains, num_warmup)
    opening_end = round(OPENING * num_warmup)
    close_start = num_warmup - round(CLOSE * num_warmup)
    assert all(end <= close_start for end in ends), (ends, close_start)
    if num_warmup >= 20:
        assert ends[-1] == close_start  # the close begins with the last estimate of P
        assert opening_end in ends  # and the middle with one from the opening
    needed = -(-fisher.first_window_draws(2) // num_chains)
    for first, low, high in (
        (max(FIRST_OPENING_WINDOW, needed), 0, opening_end),
        (max(FIRST_WINDOW, needed), opening_end, close_start),
    ):
        inside = [low, *(end for end in ends if low < end <= high)]
        lengths = np.diff(inside)
        # doubling, but for the last of a phase, which takes in what is left
        assert all(lengths[:-1] == first * 2.0 ** np.arange(len(lengths) - 1)), (lengths, first)
        if len(lengths) > 1:
            assert lengths[-1] >= lengths[-2]


def test_a_warmup_of_no_steps_ends_as_it_begins() -> None:
    functions = warmup_of()
    state = functions.init(jnp.ones((2, 2)), jnp.ones((2, 2)), 0.3, None, 0)
    np.testing.assert_allclose(jnp.exp(functions.final(state).log_step_size), 0.3, rtol=1e-6)


def test_a_traced_length_is_a_static_length(same: Any) -> None:
    """One program for every `num_warmup`, and the same numbers."""
    calls = []

    @jax.jit
    def traced(num_warmup: Any) -> Any:
        calls.append(1)
        return dry_run(warmup_of(), 4, num_warmup, 100)

    for num_warmup in (20, 100):
        static = jax.jit(lambda n=num_warmup: dry_run(warmup_of(), 4, n, 100))()
        same(traced(jnp.asarray(num_warmup)), static)
    assert len(calls) == 1


# -- stuck chains ---------------------------------------------------------------------------------


def stuck_run(*, restart: bool) -> tuple[PooledState, Any]:
    """Eight chains, one of them 10^3 nats below, none of which moves; sources of every step."""
    functions = warmup_of(restart_stuck_chains=restart)
    x = jnp.linspace(-1.0, 1.0, 8)[:, None] * jnp.ones(2)
    x = x.at[3].set(1e4)
    logdensity = jnp.zeros(8).at[3].set(-1e3)

    def one(state: PooledState, key: Any) -> Any:
        return functions.update(state, key, x, -x, logdensity, jnp.full(8, 0.574))

    state = functions.init(x, -x, 0.5, None, 100)
    return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), 100))


def test_stuck_chains_go_on_from_another_s_place_and_are_counted() -> None:
    state, source = stuck_run(restart=True)
    restarted = np.asarray(source) != np.arange(8)
    assert restarted[:, 3].any()
    assert not restarted[:, np.arange(8) != 3].any()
    assert not np.isin(np.asarray(source)[restarted], [3]).any()
    np.testing.assert_array_equal(state.num_restarts, restarted.sum(axis=0))
    assert not restarted[81:].any()  # never in the close
    # nor does the stuck chain count in P while it is stuck
    assert np.asarray(state.preconditioner.inverse_mass_matrix).max() < 10


def test_a_chain_that_accepts_nothing_restarts_whatever_its_density() -> None:
    """Chain 3 is refused at every step of the middle, chain 5 in the close alone."""
    functions = warmup_of(restart_stuck_chains=True)
    rng = np.random.default_rng(2)
    state = functions.init(jnp.zeros((8, 2)), jnp.ones((8, 2)), 0.5, None, 100)
    update = jax.jit(functions.update)
    restarted: dict[int, list[int]] = {}
    for step in range(1, 101):
        rate = np.full(8, 0.6)
        rate[3] = 0.6 if step <= 20 or restarted else 0.0
        rate[5] = 0.0 if step > 80 else 0.6
        x = jnp.asarray(rng.normal(size=(8, 2)), jnp.float32)
        key = jax.random.key(step)
        level = jnp.full(8, -1.0)
        state, source = update(state, key, x, -x, level, jnp.asarray(rate, jnp.float32))
        if (moved := np.flatnonzero(np.asarray(source) != np.arange(8))).size:
            restarted[step] = moved.tolist()
    first, last = restarted
    assert 20 < first < 80
    assert last == 100  # the end of the warmup
    assert restarted == {first: [3], last: [5]}
    assert state.num_restarts.tolist() == [0, 0, 0, 1, 0, 1, 0, 0]


def test_chains_that_all_accept_nothing_are_left_where_they_are() -> None:
    functions = warmup_of(restart_stuck_chains=True)
    state = functions.init(jnp.zeros((4, 2)), jnp.ones((4, 2)), 0.5, None, 60)
    update = jax.jit(functions.update)
    for step in range(60):
        x = jnp.zeros((4, 2))
        state, source = update(state, jax.random.key(step), x, -x, jnp.zeros(4), jnp.zeros(4))
        np.testing.assert_array_equal(source, np.arange(4))


def test_restarts_can_be_switched_off() -> None:
    state, source = stuck_run(restart=False)
    np.testing.assert_array_equal(source, np.broadcast_to(np.arange(8), (100, 8)))
    assert not np.asarray(state.num_restarts).any()
    assert np.asarray(state.preconditioner.inverse_mass_matrix).max() < 10


def test_chains_of_no_density_restart_and_one_alone_does_not() -> None:
    functions = warmup_of()
    for num_chains, expected in ((4, [0, 1, 0, 0]), (1, [0])):
        x = jnp.linspace(-1.0, 1.0, num_chains)[:, None] * jnp.ones(2)
        logdensity = jnp.zeros(num_chains)
        logdensity = logdensity.at[1].set(jnp.nan) if num_chains > 1 else logdensity - jnp.inf

        def one(state: PooledState, key: Any, x: Any = x, p: Any = logdensity) -> Any:
            return functions.update(state, key, x, -x, p, jnp.full(len(p), 0.574))

        state = functions.init(x, -x, 0.5, None, 50)
        state, _ = jax.lax.scan(one, state, jax.random.split(jax.random.key(1), 50))
        np.testing.assert_array_equal(np.asarray(state.num_restarts) > 0, expected)


# -- what it learns -------------------------------------------------------------------------------


def adapt(functions: PooledWarmup, api: Any, fn: Any, starts: Any, num_warmup: int) -> Any:
    """Kernel and warmup in one scan, as an adapter runs them; final state and acceptances."""
    kernel = api.build_kernel()

    def one(carry: Any, key: Any) -> Any:
        chains, state = carry
        keys = jax.random.split(jax.random.fold_in(key, 7), len(starts))
        chains, info = jax.vmap(
            lambda k, c, eps: kernel(k, c, fn, jnp.exp(eps), state.preconditioner)
        )(keys, chains, state.log_step_size)
        state, source = functions.update(
            state,
            key,
            chains.position,
            getattr(chains, "logdensity_grad", None),
            chains.logdensity,
            info.acceptance_rate,
        )
        return (jax.tree.map(lambda x: x[source], chains), state), info.acceptance_rate

    @jax.jit
    def program(starts: Any) -> Any:
        chains = jax.vmap(lambda x: api.init(x, fn))(starts)
        grad = getattr(chains, "logdensity_grad", None)
        state = functions.init(starts, grad, 0.5, None, num_warmup)
        keys = jax.random.split(jax.random.key(0), num_warmup)
        (_, state), rates = jax.lax.scan(one, (chains, state), keys)
        return functions.final(state), rates

    return program(starts)


def uniform_starts(num_chains: int, dim: int) -> Any:
    return jax.random.uniform(jax.random.key(3), (num_chains, dim), minval=-2.0, maxval=2.0)


@pytest.mark.parametrize("is_dense", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_ill_conditioned_gaussian_is_learned_in_300_steps(is_dense: bool) -> None:
    """The efficiency bar in small: `P` is the covariance, the step the best one for it."""
    dim, num_chains = 50, 64
    target = ill_gaussian(dim, rotated=is_dense)
    state, _ = adapt(
        warmup_of(is_dense=is_dense),
        ns.mala,
        target.logdensity_fn,
        uniform_starts(num_chains, dim),
        300,
    )
    cov = np.linalg.inv(-np.asarray(jax.hessian(target.logdensity_fn)(jnp.zeros(dim)), float))
    p = np.asarray(state.preconditioner.inverse_mass_matrix, float)
    p = p if is_dense else np.diag(p)
    values = np.linalg.eigvals(np.linalg.solve(cov, p)).real
    assert values.max() / values.min() < 1.1
    step = float(jnp.exp(state.log_step_size[0])) * values.mean()
    assert abs(step / optimal_step_size(dim) - 1) < 0.2
    assert (state.log_step_size == state.log_step_size[0]).all()


@pytest.mark.parametrize("target_rate", [0.3, 0.574, 0.8])
def test_the_step_size_reaches_the_target_acceptance(target_rate: float) -> None:
    dim = 10
    functions = warmup_of(target_acceptance_rate=target_rate, adapt_mass_matrix=False)
    state, rates = adapt(
        functions,
        ns.mala,
        ill_gaussian(dim, condition=4.0).logdensity_fn,
        uniform_starts(64, dim),
        300,
    )
    assert abs(float(rates[-40:].mean()) - target_rate) < 0.03
    assert (state.log_step_size == state.log_step_size[0]).all()


def frozen_acceptance(best: float, num_chains: int, num_warmup: int) -> float:
    """Acceptance of the step that warmup freezes, for a chain whose acceptance is known.

    `2 Phi(-.562 (eps / best)^1.5)`, MALA's in many dimensions, is .574 at `best`; each chain's rate
    is off by noise of sd .3, as that of a step is.
    """
    functions = warmup_of()

    def acceptance(log_step_size: Any) -> Any:
        ratio = jnp.exp(1.5 * (log_step_size - jnp.log(best)))
        return 2 * jax.scipy.stats.norm.cdf(-0.562 * ratio)

    def one(state: PooledState, key: Any) -> tuple[PooledState, None]:
        key_x, key_noise, key_tune = jax.random.split(key, 3)
        x = jax.random.normal(key_x, (num_chains, 2))
        noise = 0.3 * jax.random.normal(key_noise, (num_chains,))
        rates = jnp.clip(acceptance(state.log_step_size) + noise, 0.0, 1.0)
        level = -0.5 * jnp.sum(x**2, axis=1)
        return functions.update(state, key_tune, x, -x, level, rates)[0], None

    @jax.jit
    def program() -> Any:
        start = jnp.ones((num_chains, 2))
        state = functions.init(start, -start, 0.5, None, num_warmup)
        keys = jax.random.split(jax.random.key(0), num_warmup)
        state, _ = jax.lax.scan(one, state, keys)
        return acceptance(functions.final(state).log_step_size[0])

    return float(program())


@pytest.mark.parametrize("best", [1e-3, 1.0, 20.0])
@pytest.mark.parametrize(("num_chains", "num_warmup"), [(64, 50), (64, 100), (4, 200), (1, 500)])
def test_the_step_that_is_frozen_has_its_acceptance(
    best: float, num_chains: int, num_warmup: int
) -> None:
    """Whatever the length of the warmup, and however far the best step is from the usual one."""
    assert abs(frozen_acceptance(best, num_chains, num_warmup) - 0.574) < 0.1


def test_a_search_that_fails_is_corrected_by_the_check(monkeypatch: Any) -> None:
    """The planted fault: the step of every search is e^2 too large."""
    right = pooled.update_search

    def wrong(*args: Any) -> Any:
        search = right(*args)
        return search._replace(log_step_size_avg=search.log_step_size + 2.0)

    monkeypatch.setattr(pooled, "update_search", wrong)
    assert abs(frozen_acceptance(1.0, 64, 100) - 0.574) < 0.1
    monkeypatch.setattr(pooled, "correct", lambda log_step_size, *_: log_step_size)
    assert frozen_acceptance(1.0, 64, 100) < 0.1


def test_without_gradients_the_covariance_is_learned() -> None:
    dim = 3
    target = ill_gaussian(dim, condition=100.0)
    functions = pooled_warmup(
        target_acceptance_rate=0.234, estimator=sample_covariance, is_dense=False
    )
    state, rates = adapt(
        functions, ns.random_walk, target.logdensity_fn, uniform_starts(64, dim), 500
    )
    ratio = np.asarray(state.preconditioner.inverse_mass_matrix) / target.expectations[1].truth
    assert ratio.max() / ratio.min() < 1.5
    assert abs(float(rates[-50:].mean()) - 0.234) < 0.04


def test_what_is_not_adapted_stays() -> None:
    functions = warmup_of(adapt_step_size=False, adapt_mass_matrix=False)
    state, _ = adapt(functions, ns.mala, ill_gaussian(4).logdensity_fn, uniform_starts(8, 4), 100)
    np.testing.assert_allclose(jnp.exp(state.log_step_size), 0.5, rtol=1e-6)
    only_step = warmup_of(adapt_mass_matrix=False)
    first = only_step.init(uniform_starts(8, 4), None, 0.5, None, 100).preconditioner
    np.testing.assert_array_equal(first.inverse_mass_matrix, np.ones(4))

"""Chains of a BlackJAX-protocol kernel as one compiled program, under strict broadcasting."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import pytest


class Run(NamedTuple):
    """Last states `(chain, ...)`, and positions and infos of every step `(step, chain, ...)`."""

    final: Any
    positions: Any
    info: Any


@pytest.fixture(autouse=True)
def strict_broadcasting() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick_compilation: None) -> None:
    """Here nearly all of the time is compilation."""


@partial(jax.jit, static_argnums=(1, 2))
def step_keys(key: Any, num_steps: int, num_chains: int) -> Any:
    """A key for every step and chain, from a program that the runs of all kernels share."""
    return jax.vmap(lambda key: jax.random.split(key, num_chains))(jax.random.split(key, num_steps))


@pytest.fixture(scope="session")
def run_chains() -> Callable[..., Run]:
    def run(algorithm: Any, seed: int, start: Any, num_steps: int) -> Run:
        @jax.jit
        def program(keys: Any, start: Any) -> Run:
            def one(state: Any, keys: Any) -> tuple[Any, Any]:
                state, info = jax.vmap(algorithm.step)(keys, state)
                return state, (state.position, info)

            final, (positions, info) = jax.lax.scan(one, jax.vmap(algorithm.init)(start), keys)
            return Run(final, positions, info)

        keys = step_keys(jax.random.key(seed), num_steps, len(jax.tree.leaves(start)[0]))
        return program(keys, start)

    return run

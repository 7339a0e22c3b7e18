"""Chains of a BlackJAX-protocol kernel as one compiled program, under strict broadcasting."""

from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def run_chains() -> Callable[..., Run]:
    def run(algorithm: Any, seed: int, start: Any, num_steps: int) -> Run:
        @jax.jit
        def program(key: Any, start: Any) -> Run:
            state = jax.vmap(algorithm.init)(start)
            num_chains = len(jax.tree.leaves(start)[0])

            def one(state: Any, key: Any) -> tuple[Any, Any]:
                state, info = jax.vmap(algorithm.step)(jax.random.split(key, num_chains), state)
                return state, (state.position, info)

            final, (positions, info) = jax.lax.scan(one, state, jax.random.split(key, num_steps))
            return Run(final, positions, info)

        return program(jax.random.key(seed), start)

    return run

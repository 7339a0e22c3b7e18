"""Every kernel in BlackJAX's protocol: pure, batchable, on any pytree, one evaluation a step."""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax import GenerateSamplingAPI, SamplingAlgorithm
from jax.flatten_util import ravel_pytree

import numpyro_score as ns
from numpyro_score.kernels.facts import facts_of
from tests.kernel_table import KERNELS, TEMPLATE, UNRAVEL, logdensity

STARTS = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
every_case = pytest.mark.parametrize("case", KERNELS)


def make(case: str, *, is_tree: bool = False, fn: Any = logdensity) -> SamplingAlgorithm:
    kernel = KERNELS[case]
    density = () if kernel.num_traces == 0 else (fn,)  # a score alone
    return kernel.api(*density, **kernel.parameters(is_tree))


def five_steps(algorithm: SamplingAlgorithm, seed: int, start: Any) -> Any:
    def one(state: Any, key: Any) -> Any:
        return algorithm.step(key, state)

    with jax.ensure_compile_time_eval():  # a constant: the programs of all kernels would split anew
        keys = jax.random.split(jax.random.key(seed), 5)
    return jax.lax.scan(one, algorithm.init(start), keys)


def assert_close(left: Any, right: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), left, right)


@lru_cache
def batched(case: str) -> Any:
    return jax.jit(jax.vmap(partial(five_steps, make(case), 0)))(STARTS)


@every_case
def test_jit_vmap_and_eager_agree(case: str) -> None:
    algorithm, chain = make(case), 1
    state = algorithm.init(STARTS[chain])
    for i, key in enumerate(jax.random.split(jax.random.key(0), 5)):
        state, info = algorithm.step(key, state)
        assert_close(info, jax.tree.map(lambda x, i=i: x[chain, i], batched(case)[1]))
    assert_close(state, jax.tree.map(lambda x: x[chain], batched(case)[0]))


@every_case
def test_pytree_positions_give_the_raveled_chain(case: str) -> None:
    algorithm = make(case, is_tree=True)
    tree = jax.jit(jax.vmap(partial(five_steps, algorithm, 0)))(jax.vmap(UNRAVEL)(STARTS))
    flat = batched(case)
    assert jax.tree.structure(tree[0].position) == jax.tree.structure(TEMPLATE)  # type: ignore[operator]
    assert_close(jax.vmap(lambda x: ravel_pytree(x)[0])(tree[0].position), flat[0].position)
    assert_close(tree[1], flat[1])


@every_case
def test_a_key_decides_and_the_target_is_traced_once_a_step(case: str, same: Any) -> None:
    calls = []

    def counted(position: Any) -> Any:
        calls.append(1)
        return logdensity(position)

    algorithm = make(case, fn=counted)
    state = algorithm.init(STARTS[0])
    calls.clear()
    step = jax.jit(algorithm.step)
    first = step(jax.random.key(2), state)
    # no more evaluations in a step than there have to be
    assert len(calls) == KERNELS[case].num_traces
    same(step(jax.random.key(2), state), first)
    assert jax.tree.structure(first[0]) == jax.tree.structure(state)  # type: ignore[operator]
    others = [step(jax.random.key(seed), state)[1].acceptance_rate for seed in range(3, 8)]
    positions = [step(jax.random.key(seed), state)[0].position for seed in range(3, 8)]
    assert len({p.tobytes() for p in map(np.asarray, positions)}) > 1
    assert all(0 <= float(rate) <= 1 for rate in others)
    step(jax.random.key(3), first[0])
    assert len(calls) == KERNELS[case].num_traces  # the second call compiles nothing


@every_case
def test_the_api_is_blackjax_s(case: str, same: Any) -> None:
    api, parameters, num_grad, _ = KERNELS[case]
    assert isinstance(api, GenerateSamplingAPI)
    algorithm = make(case)
    assert isinstance(algorithm, SamplingAlgorithm)
    state = algorithm.init(STARTS[0])
    # build_kernel takes the parameters that the callable binds; P is factored either way
    values = {
        name: jnp.asarray(value, jnp.float32) if name == "inverse_mass_matrix" else value
        for name, value in parameters(False).items()
    }
    key = jax.random.key(3)
    built, info = api.build_kernel()(key, state, logdensity, **values)
    assert_close((built, info), algorithm.step(key, state))
    assert {"acceptance_rate", "is_accepted", "is_divergent"} <= set(info._fields)
    facts = facts_of(api)
    assert facts is not None
    num_logdensity = 1 if case == "parallel_tempering" else int(num_grad == 0)
    grads, logdensities = map(int, facts.evaluations(info, state))
    assert logdensities == num_logdensity
    assert grads == num_grad if num_grad is not None else grads >= 2


@pytest.mark.parametrize("api", [ns.mala, ns.ula, ns.random_walk])
def test_step_size_and_matrix_come_by_position_after_the_density(api: GenerateSamplingAPI) -> None:
    """As `blackjax.window_adaptation` passes them."""
    state = api.init(STARTS[0], logdensity)
    matrix = jnp.ones(3)
    by_position, _ = api.build_kernel()(jax.random.key(0), state, logdensity, 0.1, matrix)
    by_name, _ = api(logdensity, step_size=0.1, inverse_mass_matrix=matrix).step(
        jax.random.key(0), state
    )
    assert_close(by_position, by_name)


def test_double_precision_stays_double(x64: None) -> None:
    start = jnp.asarray(STARTS[0], jnp.float64)
    for case in KERNELS:
        # proposals and ladders were made in single precision
        if case in ("independence", "global_local", "parallel_tempering") or "multip" in case:
            continue
        algorithm = make(case)
        state, _ = algorithm.step(jax.random.key(0), algorithm.init(start))
        assert state.position.dtype == jnp.float64, case


@pytest.mark.parametrize("case", ["random_walk", "mala", "mala-dense"])
def test_single_precision_stays_single_where_the_default_is_double(x64: None, case: str) -> None:
    algorithm = make(case)
    start = jnp.asarray(STARTS[0], jnp.float32)
    state, _ = jax.jit(partial(five_steps, algorithm, 0))(start)
    assert state.position.dtype == jnp.float32

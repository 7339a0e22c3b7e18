"""Every NumPyro kernel says what it is, overrides nothing, and keeps the form of its state."""

import pickle
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.infer import NumPyroKernel
from numpyro_score.kernels.proposals import from_distribution
from numpyro_score.run.protocol import BatchedKernel, DescribedKernel, LearningKernel
from tests.kernel_table import CLASSES

every_kernel = pytest.mark.parametrize("name", CLASSES)


def kernel_of(name: str, small: Any) -> Any:
    return CLASSES[name].make(small.model)


@every_kernel
def test_it_says_what_it_is(name: str, small: Any) -> None:
    kernel, entry = kernel_of(name, small), CLASSES[name]
    assert isinstance(kernel, DescribedKernel)
    assert isinstance(kernel, BatchedKernel)
    assert isinstance(kernel, LearningKernel)
    assert kernel.exact == entry.exact
    assert kernel.draws_are_independent == entry.is_independent
    assert kernel.settings
    assert not set(vars(NumPyroKernel)) & set(vars(type(kernel))) - {
        "__doc__", "__init__", "__module__", "__annotations__", "__firstlineno__",
        "__static_attributes__", "__abstractmethods__", "_abc_impl",
    }  # fmt: skip


@pytest.mark.parametrize("is_single", [False, True])
@every_kernel
def test_a_step_keeps_the_form_of_the_state(name: str, is_single: bool, small: Any) -> None:
    kernel = pickle.loads(pickle.dumps(kernel_of(name, small)))
    keys = jax.random.key(0) if is_single else jax.random.split(jax.random.key(0), 3)
    shape = () if is_single else (3,)
    start = jnp.zeros((*shape, 2)) if name == "ScoreMetropolis" else None
    args = () if name == "ScoreMetropolis" else (small.y,)
    state = kernel.init(keys, 2, start, args, {})
    after = jax.eval_shape(lambda s: kernel.sample(s, args, {}), state)
    assert jax.tree.structure(after) == jax.tree.structure(state)  # type: ignore[operator]
    form = [(x.shape, x.dtype) for x in jax.tree.leaves(state)]
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(after)] == form
    for field in kernel.default_fields:
        for leaf in jax.tree.leaves(reduce(getattr, field.split("."), state)):
            assert jnp.shape(leaf)[: len(shape)] == shape, field
    frozen = jax.eval_shape(lambda s: kernel.sample(s, args, {}, is_frozen=True), state)
    assert jax.tree.structure(frozen) == jax.tree.structure(state)  # type: ignore[operator]


def test_a_step_of_the_global_local_kernel_counts_all_its_gradients(small: Any) -> None:
    """`num_local=4` and the jump: five gradients a step, also through `BlackJAXKernel`."""
    proposal = from_distribution(dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    kernel = ns.BlackJAXKernel(
        ns.global_local,
        logdensity_fn=lambda x: -0.5 * jnp.sum(x**2),
        parameters={"proposal": proposal, "num_local": 4},
    )
    state = kernel.init(jax.random.key(0), 0, jnp.zeros(2), (), {})
    assert int(kernel.sample(state, (), {}).num_grad) == 5


def unknown_kernel() -> Any:
    """A kernel that is neither BlackJAX's nor of this package."""

    class Unknown:
        init = staticmethod(ns.mala.init)

        @staticmethod
        def build_kernel() -> Any:
            return ns.mala.build_kernel()

    return Unknown()


def test_what_is_not_known_has_to_be_said() -> None:
    density = {"logdensity_fn": lambda x: -0.5 * jnp.sum(x**2)}
    with pytest.raises(ValueError, match="give exact=True"):
        ns.BlackJAXKernel(unknown_kernel(), **density)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give exact=True"):
        ns.GlobalLocal(local=unknown_kernel(), **density)  # type: ignore[arg-type]
    for exact in (True, False):
        kernel = ns.BlackJAXKernel(unknown_kernel(), exact=exact, **density)  # type: ignore[arg-type]
        assert kernel.exact == exact
    with pytest.raises(ValueError, match="is biased"):
        ns.BlackJAXKernel(ns.ula, exact=True, **density)  # type: ignore[arg-type]
    assert not ns.BlackJAXKernel(ns.ula, **density).exact  # type: ignore[arg-type]

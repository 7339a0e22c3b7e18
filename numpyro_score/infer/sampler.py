"""`Sampler`: how a batch of chains starts and steps, with the properties that users rely on.

A few functions of arrays and a few facts. `markov`, `independent` and `particles` make a `Sampler`,
`alternate` and `prepared` make one of others, and `NumPyroKernel` makes a kernel of NumPyro of it.
There is always a batch: a single chain is a batch of one.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int
from numpyro.util import is_prng_key

from numpyro_score.adaptation.state import PooledState
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.types import LogDensityFn, MapChains, Position


class Context(NamedTuple):
    """What every function of a sampler is given beside the state.

    Attributes
    ----------
    logdensity_fn
        Log density of an unconstrained position; None where only a score is known.
    model, args, kwargs
        The NumPyro model or None, and what it is called with.
    learned
        What `prepare` learned, for the steps; None for samplers that learn nothing.
    map_chains
        Makes a function of one chain one of all of them.
    """

    logdensity_fn: LogDensityFn | None
    model: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    learned: Any
    map_chains: MapChains

    def flat_logdensity_fn(self, template: Position) -> FlatLogDensity:
        """Log density of a flat position of the template's structure."""
        density = self.logdensity_fn
        assert density is not None  # a score alone is not explored
        unravel = ravel_pytree(template)[1]
        return lambda x: density(unravel(x))


class SamplerState(NamedTuple):
    """State of a batch of chains.

    Attributes
    ----------
    chains
        Every leaf has a leading chain axis. Has at least `position`, and `logdensity` (None where
        it is not known); fields that the sampler reports are fields or properties of it.
    adapt
        What warmup has learned so far, shared by the chains; None where it learns nothing.
    """

    chains: Any
    adapt: PooledState | None


class StepInfo(NamedTuple):
    """What happened in a step, of every chain.

    Attributes
    ----------
    acceptance_rate
        Probability with which the candidate was to be accepted; None where nothing is proposed.
    is_divergent
        Whether a number that is not finite was met.
    num_grad, num_logdensity
        Gradients, and log densities without a gradient, that the step evaluated.
    """

    acceptance_rate: Float[Array, "*chain"] | None
    is_divergent: Bool[Array, "*chain"]
    num_grad: Int[Array, "*chain"]
    num_logdensity: Int[Array, "*chain"]


class Sampler(NamedTuple):
    """How a batch of chains starts and steps, with the properties that users rely on.

    Functions take keys with a leading chain axis, one for each chain, and use each key once. The
    properties have no defaults.

    Attributes
    ----------
    init
        `(rng_keys, positions, context, num_warmup) -> SamplerState`.
    step
        `(rng_keys, state, context, step_number) -> (SamplerState, StepInfo)`; `step_number`
        counts the steps after warmup, from 1, and is below 1 in warmup.
    is_exact
        Whether the stationary distribution is the target.
    draws_are_independent
        Whether a draw does not depend on the ones before it.
    fields
        Names of fields that are reported besides the draw, divergences and costs, as
        attributes of `KernelState`.
    settings
        Name -> value of all that was given: what distinguishes one run from another.
    describe
        `KernelState -> text` for the progress bar.
    warmup_step
        Runs in place of `step` in warmup; None where the step is the same.
    tune
        `(rng_key, state, info) -> SamplerState`: one step of the adaptation, after each step of
        warmup; None where warmup learns nothing.
    prepare
        `(rng_key, template, context, progress) -> Preparation`: what is learned of the target
        before the first step; None for nothing.
    template
        A position of whose shapes `prepare` learns where there is no model and no start is given;
        None for none.
    refresh
        `(rng_keys, chains, context) -> chains` with all that belongs to the target evaluated
        again, for a target that changes between steps; None where that is not possible.
    target_accept_prob
        Acceptance that warmup tunes a step size to; None where it tunes none.
    remark
        `KernelState -> text`: what a user has to know of the last draws of a batch of chains, such
        as that they are wrong; None for nothing. None where there is nothing to tell it by.

    Examples
    --------
    >>> from numpyro_score.infer import markov
    >>> from numpyro_score.kernels import random_walk
    >>> from numpyro_score.kernels.signature import algorithm_of
    >>> sampler = markov(algorithm_of(random_walk, {}))
    >>> sampler.is_exact, sampler.draws_are_independent, sampler.target_accept_prob
    (True, False, 0.234)
    """

    init: Callable[..., SamplerState]
    step: Callable[..., tuple[SamplerState, StepInfo]]
    is_exact: bool
    draws_are_independent: bool
    fields: tuple[str, ...]
    settings: Mapping[str, Any]
    describe: Callable[[Any], str]
    warmup_step: Callable[..., tuple[SamplerState, StepInfo]] | None = None
    tune: Callable[..., SamplerState] | None = None
    prepare: Callable[..., Any] | None = None
    template: Position | None = None
    refresh: Callable[..., Any] | None = None
    target_accept_prob: float | None = None
    remark: Callable[[Any], str | None] | None = None


def prepared(
    sampler: Sampler,
    prepare: Callable[..., Any],
    template: Position | None = None,
    **settings: Any,
) -> Sampler:
    """The sampler, which learns of its target before the first step.

    Parameters
    ----------
    sampler
        Any; its functions find what was learned in `Context.learned`.
    prepare, template
        As in `Sampler`.
    settings
        What `prepare` was given.

    Examples
    --------
    >>> from numpyro_score.infer import independent
    >>> sampler = independent(lambda *_: None, is_exact=False, has_logdensity=False, settings={})
    >>> prepared(sampler, lambda *_: None, num_particles=100).settings
    {'num_particles': 100}
    """
    # what was learned was learned of one target
    return sampler._replace(
        prepare=prepare,
        template=template,
        refresh=None,
        settings={**sampler.settings, **settings},
    )


def ravel(position: Position) -> Float[Array, " dim"]:
    """A position as a flat array."""
    return ravel_pytree(position)[0]


def first(tree: Any) -> Any:
    """That of the first chain."""
    return jax.tree.map(lambda x: x[0], tree)


def add_axis(tree: Any) -> Any:
    """That of one chain as that of a batch of one."""
    return jax.tree.map(lambda x: x[None], tree)


def map_one(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`MapChains` of a batch of one, without `jax.vmap`: branches and loops stay what they are."""

    def of_batch(*args: Any) -> Any:
        return add_axis(fn(*first(args)))

    return of_batch


def split_keys(rng_key: Any, num: int) -> Any:
    """`jax.random.split` for one key or a batch: `num` keys, or `num` batches of keys."""
    if is_prng_key(rng_key):
        return jax.random.split(rng_key, num)
    return jnp.swapaxes(jax.vmap(partial(jax.random.split, num=num))(rng_key), 0, 1)

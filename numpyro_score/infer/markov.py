"""`markov`: the sampler of any Markov kernel in BlackJAX's protocol, with its pooled warmup."""

from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from numpyro_score.infer.sampler import Context, Sampler, SamplerState, StepInfo, first, ravel
from numpyro_score.infer.state import KernelState
from numpyro_score.infer.warmup import Tuning, WarmupOptions, make_tuning
from numpyro_score.kernels.signature import Algorithm
from numpyro_score.preconditioner import check_inverse_mass_matrix
from numpyro_score.types import Position

TARGET_FIELDS = ("logdensity", "logdensity_grad", "log_proposal")
"""Fields of a kernel's state whose value belongs to the target at the position."""

TUNED_FIELDS = ("potential_energy", "accept_prob", "adapt_state.step_size")
"""What a kernel with a step size reports."""

UNTUNED_FIELDS = ("potential_energy", "accept_prob")
"""What a kernel without one reports."""

type Bind = Callable[[Algorithm, Context, Position], Algorithm]
"""`(algorithm, context, position of one chain)` -> the algorithm, with parameters that depend on
the model's arguments or on what was learned."""


def markov(
    algorithm: Algorithm,
    *,
    bind: Bind | None = None,
    fields: tuple[str, ...] = TUNED_FIELDS,
    **warmup: Unpack[WarmupOptions],
) -> Sampler:
    """The sampler of a Markov kernel; warmup pools all chains for one step size and one `P`.

    Parameters
    ----------
    algorithm
        The kernel for one chain, with its parameters.
    bind
        Completes the parameters from the model's arguments, or from what was learned.
    fields
        What is reported besides the draw, divergences and costs.
    warmup
        Options of the warmup, described in `WarmupOptions`.

    Raises
    ------
    ValueError, TypeError
        If an option cannot be used.

    Examples
    --------
    >>> from numpyro_score.kernels import mala
    >>> from numpyro_score.kernels.signature import algorithm_of
    >>> sampler = markov(algorithm_of(mala, {}), target_accept_prob=0.6)
    >>> sampler.is_exact, sampler.target_accept_prob
    (True, 0.6)
    """
    tuning = make_tuning(algorithm, warmup)
    settings = {**tuning._asdict(), **algorithm.parameters}
    del settings["algorithm"]
    step = partial(_step, tuning, bind, is_warmup=False)
    has_warmup_kernel = algorithm.warmup_api is not None
    # a kernel that warmup tunes by the acceptance of another one has no target of its own
    has_target = tuning.adapt_step_size and not has_warmup_kernel
    target = tuning.target_accept_prob if has_target else None
    return Sampler(
        init=partial(_init, tuning, bind),
        step=step,
        is_exact=algorithm.facts.is_exact,
        draws_are_independent=False,
        fields=fields,
        settings=settings,
        describe=describe,
        warmup_step=partial(_step, tuning, bind, is_warmup=True) if has_warmup_kernel else None,
        tune=partial(_tune, tuning) if tuning.is_adapting else None,
        refresh=partial(_refresh, algorithm, bind),
        target_accept_prob=target,
    )


def describe(state: KernelState) -> str:
    """Step size and acceptance, for the progress bar."""
    assert state.adapt_state is not None
    step_size = float(jnp.mean(state.adapt_state.step_size))
    assert state.mean_accept_prob is not None
    return f"step size {step_size:.2e}. acc. prob={float(jnp.mean(state.mean_accept_prob)):.2f}"


def _bound(
    algorithm: Algorithm, bind: Bind | None, context: Context, positions: Position
) -> Algorithm:
    return algorithm if bind is None else bind(algorithm, context, first(positions))


def _start(
    algorithm: Algorithm, bind: Bind | None, rng_keys: Any, positions: Position, context: Context
) -> Any:
    """The kernel's own state of every chain."""
    algorithm = _bound(algorithm, bind, context, positions)
    start = partial(algorithm.init, logdensity_fn=context.logdensity_fn)
    return context.map_chains(start)(rng_keys, positions)


def _init(
    tuning: Tuning,
    bind: Bind | None,
    rng_keys: Any,
    positions: Position,
    context: Context,
    num_warmup: int | Int[Array, ""],
) -> SamplerState:
    chains = _start(tuning.algorithm, bind, rng_keys, positions, context)
    grad = getattr(chains, "logdensity_grad", None)
    flat = jax.vmap(ravel)(positions)
    dim = flat.shape[1]
    check_inverse_mass_matrix(tuning.inverse_mass_matrix, dim)
    adapt = tuning.warmup(has_grad=grad is not None).init(
        flat,
        None if grad is None else jax.vmap(ravel)(grad),
        tuning.first_step_size(dim),
        tuning.first_preconditioner(dim, flat.dtype),
        num_warmup if tuning.is_adapting else 0,
    )
    return SamplerState(chains, adapt)


def _step(
    tuning: Tuning,
    bind: Bind | None,
    rng_keys: Any,
    state: SamplerState,
    context: Context,
    step_number: Any,
    *,
    is_warmup: bool,
) -> tuple[SamplerState, StepInfo]:
    del step_number
    algorithm = _bound(tuning.algorithm, bind, context, state.chains.position)
    adapt = state.adapt
    assert adapt is not None

    def one(rng_key: Any, chain: Any, log_step_size: Any) -> tuple[Any, StepInfo]:
        new, info = algorithm.step(
            rng_key,
            chain,
            context.logdensity_fn,
            jnp.exp(log_step_size),
            adapt.preconditioner,
            is_warmup=is_warmup,
            learned=adapt.learned(),
        )
        rate = getattr(info, "acceptance_rate", None)
        if rate is None:
            if tuning.adapt_step_size:
                raise ValueError(
                    "the algorithm reports no acceptance rate, so its step size cannot be "
                    'adapted; give parameters={"step_size": ...}.'
                )
            rate = jnp.ones(())
        num_grad, num_logdensity = algorithm.facts.evaluations(info, chain)
        return new, StepInfo(
            rate,
            algorithm.is_divergent(info, new),
            jnp.asarray(num_grad, jnp.int32),
            jnp.asarray(num_logdensity, jnp.int32),
        )

    chains, info = context.map_chains(one)(rng_keys, state.chains, adapt.log_step_size)
    return SamplerState(chains, adapt), info


def _tune(tuning: Tuning, rng_key: Any, state: SamplerState, info: StepInfo) -> SamplerState:
    """One step of the warmup, which may restart stuck chains from other chains' positions."""
    chains = state.chains
    grad = getattr(chains, "logdensity_grad", None)
    flat = jax.vmap(ravel)(chains.position)
    num_chains, dim = flat.shape
    functions = tuning.warmup(has_grad=grad is not None)
    num_steps = None
    assert state.adapt is not None
    if (trajectory := state.adapt.trajectory) is not None:
        # not from the gradients: a kernel may try several trajectories in a step
        length_at = tuning.algorithm.facts.num_steps_at
        assert length_at is not None
        num_steps = jax.vmap(length_at, (0, None))(chains.step - 1, trajectory.mean_num_steps)
        num_steps = num_steps.astype(flat.dtype)
    adapt, source = functions.update(
        state.adapt,
        rng_key,
        flat,
        None if grad is None else jax.vmap(ravel)(grad),
        chains.logdensity,
        info.acceptance_rate,
        num_steps,
    )
    if num_chains > 1:
        chains = jax.tree.map(lambda x: x[source], chains)
    frozen = functions.final(adapt).log_step_size
    if not tuning.adapt_step_size:
        # whatever warmup used for itself, the draws use the step size that was asked for
        frozen = jnp.full_like(frozen, jnp.log(tuning.first_step_size(dim)))
    is_last = adapt.step == adapt.num_warmup
    adapt = adapt._replace(log_step_size=jnp.where(is_last, frozen, adapt.log_step_size))
    return SamplerState(chains, adapt)


def _refresh(
    algorithm: Algorithm, bind: Bind | None, rng_keys: Any, chains: Any, context: Context
) -> Any:
    # what an init draws besides (a momentum) is dropped
    fresh = _start(algorithm, bind, rng_keys, chains.position, context)
    fields = {name: getattr(fresh, name) for name in TARGET_FIELDS if hasattr(fresh, name)}
    return chains._replace(**fields)

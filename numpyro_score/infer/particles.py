"""`particles`: the sampler that returns populations of particles, one particle per draw."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from numpyro_score.infer.markov import UNTUNED_FIELDS
from numpyro_score.infer.populations import disagreement
from numpyro_score.infer.sampler import Context, Sampler, SamplerState, StepInfo, first
from numpyro_score.infer.state import KernelState
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.kernels.tempered_smc import count_grad, tempered_smc
from numpyro_score.learned.reference import reference_of
from numpyro_score.types import Position, RngKey


class ParticleState(NamedTuple):
    """State of a batch of chains, each of which has a population.

    Attributes
    ----------
    position, logdensity
        The last draw, and the target's log density there.
    particles, logdensities
        The population.
    info
        What a draw of the population took.
    """

    position: Position
    logdensity: Float[Array, " chain"]
    particles: Float[Array, "chain row dim"]
    logdensities: Float[Array, "chain row"]
    info: StepInfo


def particles(num_particles: int, reference: IndependentProposal | None) -> Sampler:
    """The sampler of tempered SMC: each chain draws a population whenever its last one is used up.

    Approximate: the distribution of a finite population differs from the target's.

    Parameters
    ----------
    num_particles
        Size of a population.
    reference
        Where particles start; None for the model's prior, or a wide Gaussian.

    Examples
    --------
    >>> sampler = particles(100, None)
    >>> sampler.is_exact, sampler.draws_are_independent
    (False, False)
    """
    return Sampler(
        init=partial(_init, num_particles),
        step=partial(_step, num_particles, reference),
        is_exact=False,
        # particles of one population share the errors of its weights
        draws_are_independent=False,
        fields=UNTUNED_FIELDS,
        settings={"num_particles": num_particles, "reference": reference},
        describe=partial(_describe, num_particles),
        warmup_step=_wait,
        remark=_remark,
    )


def _remark(state: KernelState) -> str | None:
    """Whether the chains' last populations differ far too much."""
    return disagreement(np.asarray(state.kernel_state.particles))


def _describe(num_particles: int, state: KernelState) -> str:
    return f"particle {(int(state.step_number) - 1) % num_particles} of {num_particles}"


def _init(
    num_particles: int,
    rng_keys: Any,
    positions: Position,
    context: Context,
    num_warmup: int | Int[Array, ""],
) -> SamplerState:
    """The start; no population is made before the first draw."""
    del rng_keys, num_warmup
    density: Callable[..., Any] | None = context.logdensity_fn
    assert density is not None
    logdensity = context.map_chains(density)(positions)
    num_chains = len(logdensity)
    flat = ravel_pytree(first(positions))[0]
    none = jnp.zeros(num_chains, jnp.int32)
    chains = ParticleState(
        positions,
        logdensity,
        jnp.zeros((num_chains, num_particles, flat.size), flat.dtype),
        jnp.zeros((num_chains, num_particles), logdensity.dtype),
        StepInfo(jnp.ones(num_chains, flat.dtype), none > 0, none, none),
    )
    return SamplerState(chains, None)


def _wait(
    rng_keys: Any, state: SamplerState, context: Context, step_number: Any
) -> tuple[SamplerState, StepInfo]:
    """A step of warmup: nothing is drawn, at no cost."""
    del rng_keys, context, step_number
    return state, state.chains.info


def _step(
    num_particles: int,
    reference: IndependentProposal | None,
    rng_keys: Any,
    state: SamplerState,
    context: Context,
    step_number: Any,
) -> tuple[SamplerState, StepInfo]:
    """The next particle of every chain."""
    before: ParticleState = state.chains
    row = (step_number - 1) % num_particles

    def stay() -> ParticleState:
        return before

    def fill() -> ParticleState:
        population = partial(_population, num_particles, reference, context)
        rows, values, info = context.map_chains(population)(rng_keys, before.position)
        return before._replace(particles=rows, logdensities=values, info=info)

    new = jax.lax.cond(row == 0, fill, stay)
    unravel = ravel_pytree(first(before.position))[1]
    new = new._replace(
        position=jax.vmap(unravel)(new.particles[:, row]), logdensity=new.logdensities[:, row]
    )
    return SamplerState(new, None), new.info


def _population(
    num_particles: int,
    reference: IndependentProposal | None,
    context: Context,
    rng_key: RngKey,
    position: Position,
) -> tuple[Float[Array, "row dim"], Float[Array, " row"], StepInfo]:
    """A population of one chain, its log densities, and what a draw of it took."""
    flat = ravel_pytree(position)[0]
    logdensity_fn = context.flat_logdensity_fn(position)
    reference = reference_of(reference, context.model, flat, context.args, dict(context.kwargs))
    key_smc, key_order = jax.random.split(rng_key)
    found = tempered_smc(logdensity_fn, reference, key_smc, num_particles)
    # copies of one particle are adjacent after resampling
    rows = jax.random.permutation(key_order, found.particles)
    values = jax.vmap(logdensity_fn)(rows)
    is_lost = (found.inverse_temperature < 1) | ~jnp.all(jnp.isfinite(rows))
    info = StepInfo(
        found.acceptance_rate,
        is_lost,
        jnp.asarray(count_grad(1, found.num_stages), jnp.int32),
        jnp.ones((), jnp.int32),
    )
    return rows, values, info

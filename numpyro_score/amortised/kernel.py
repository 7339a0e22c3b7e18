"""An exact kernel that alternates local steps with proposals from an amortised posterior.

Given the data the proposal is fixed, so that independence Metropolis-Hastings with it is exact for
every data set, without further training (neural posteriors as proposals: Paige and Wood 2016,
arXiv:1602.06701). Its Student t part and the local steps keep a chain moving where the
approximation is poor.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.infer import NumPyroKernel, Problem, Sampler, WarmupOptions, alternate, markov
from numpyro_score.infer.alternate import Candidates, Jump
from numpyro_score.infer.learned_jump import LEARNED_JUMP
from numpyro_score.infer.sampler import Context, SamplerState, first
from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.targets.sites import sites_of
from numpyro_score.types import Position

NUM_STARTS = 16
"""Draws of the amortised posterior from which a chain's start is sampled by importance weight."""


def observed(
    model: Callable[..., Any],
    names: tuple[str, ...],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """Values of the named sites in a call of the model.

    Raises
    ------
    ValueError
        If one is not observed in this call.
    """
    sites = sites_of(model, args, kwargs)
    missing = [name for name in names if not sites.get(name, {}).get("is_observed", False)]
    if missing:
        raise ValueError(
            f"the model as it is called does not observe {', '.join(missing)}, which the posterior "
            "is conditioned on; call the model with the data"
        )
    return {name: sites[name]["value"] for name in names}


def amortised_kernel(
    posterior: Any,
    model: Callable[..., Any],
    *,
    local: KernelApi = mala,
    global_every: int = 2,
    **warmup: Unpack[WarmupOptions],
) -> NumPyroKernel:
    """The kernel of `AmortisedPosterior.as_kernel`; exact for every data set.

    Chains start at draws of the amortised posterior; `init_params` are ignored.

    Parameters
    ----------
    posterior
        The amortised posterior.
    model
        The model, with a density.
    local
        The local moves, in BlackJAX's protocol.
    global_every
        Every `global_every`-th step proposes a draw of the amortised posterior.
    warmup
        Options of the local moves' warmup, described in `numpyro_score.infer.WarmupOptions`.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of range; at the start of a run, if the model's latent sites differ
        from those of the posterior.
    """
    check_whole("global_every", global_every)
    warmup.setdefault("restart_stuck_chains", False)
    moves = markov(algorithm_of(local, {}), **warmup)
    jump = Jump(partial(_init_jump, posterior), partial(_propose, posterior), is_exact=True)
    sampler = alternate(moves, jump, every=global_every)
    sampler = sampler._replace(
        init=partial(_start, posterior, sampler),
        refresh=None,
        settings={**sampler.settings, "flow": posterior.flow},
    )
    return NumPyroKernel(Problem("AmortisedPosterior.as_kernel", model, None, None), sampler)


def _given(posterior: Any, context: Context) -> Context:
    """The context, with the proposal for its data in the field `learned`."""
    assert context.model is not None
    data = observed(context.model, posterior.names, context.args, context.kwargs)
    return context._replace(learned=posterior.proposal(data))


def _init_jump(posterior: Any, num_chains: int, context: Context) -> Any:
    return LEARNED_JUMP.init(num_chains, _given(posterior, context))


def _propose(
    posterior: Any,
    keys_draw: Any,
    keys_weigh: Any,
    pool: Any,
    positions: Any,
    context: Context,
    number: Any,
) -> tuple[Any, Candidates]:
    known = _given(posterior, context)
    return LEARNED_JUMP.propose(keys_draw, keys_weigh, pool, positions, known, number)


def _start(
    posterior: Any,
    sampler: Sampler,
    rng_keys: Any,
    positions: Position,
    context: Context,
    num_warmup: int | Int[Array, ""],
) -> SamplerState:
    """Chains that start at draws of the proposal, resampled by importance weight."""
    one = first(positions)
    check_sites(posterior, one)
    unravel = ravel_pytree(one)[1]
    proposal = _given(posterior, context).learned
    density = context.logdensity_fn
    assert density is not None

    def start(rng_key: Any) -> tuple[Any, Position]:
        key_draw, key_choose, key_rest = jax.random.split(rng_key, 3)
        x, log_q = jax.vmap(proposal.sample_and_log_prob)(jax.random.split(key_draw, NUM_STARTS))
        log_weights = finite_weights(jax.vmap(lambda x: density(unravel(x)))(x) - log_q)
        return key_rest, unravel(x[jax.random.categorical(key_choose, log_weights)])

    rest, positions = jax.vmap(start)(rng_keys)
    return sampler.init(rest, positions, context, num_warmup)


def check_sites(posterior: Any, position: Position) -> None:
    """Check that a model's unconstrained position has the sites of the posterior.

    Raises
    ------
    ValueError
        If it has not.
    """
    expected = {site.name: site.size for site in posterior.sites}
    found = {name: x.size for name, x in position.items()} if isinstance(position, dict) else {}
    if found != expected:
        raise ValueError(
            f"the model has the unconstrained sites {found} but the posterior was learned for "
            f"{expected}; give the model that it was learned from, or one with the same sites"
        )


def finite_weights(log_weights: Float[Array, "*num"]) -> Float[Array, "*num"]:
    """Log weights, very low where the density is 0 or could not be computed."""
    return jnp.where(jnp.isfinite(log_weights), log_weights, -1e30)

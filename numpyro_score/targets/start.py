"""Check of starting points, and the sites that cause a log density that is not finite."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32
from numpyro.handlers import seed
from numpyro.infer.util import compute_log_probs, constrain_fn, initialize_model
from numpyro.util import is_prng_key

from numpyro_score.targets.prior import without_likelihood
from numpyro_score.types import Position, RngKey


def site_log_probs(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    constrained: Mapping[str, Any],
) -> dict[str, Float[Array, ""]]:
    """Log probability of every sample site, given values of the latent ones.

    A discrete site without a value, which is summed out in the model's density, takes the one that
    a fixed key draws.

    Parameters
    ----------
    model, args, kwargs
        A callable of NumPyro primitives and what it is called with.
    constrained
        Site name -> value.
    """
    # the key is for sites that are not substituted
    seeded = seed(model, jax.random.key(0))
    log_probs, _ = compute_log_probs(seeded, args, dict(kwargs), dict(constrained))
    return {name: jnp.sum(value) for name, value in log_probs.items()}


def nonfinite_sites(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    position: Position,
) -> list[str]:
    """Names of the sites whose log probability is not finite at an unconstrained position."""
    constrained = constrain_fn(seed(model, jax.random.key(0)), args, kwargs, position)
    log_probs = site_log_probs(model, args, kwargs, constrained)
    return [name for name, value in log_probs.items() if not np.isfinite(value)]


def check_start(
    logdensity: Float[Array, "..."],
    grads: Position | None,
    name_culprits: Callable[[int], list[str]],
) -> None:
    """Check that log density and gradient are finite at the starting points, unless traced.

    Parameters
    ----------
    logdensity
        Shape `()` or `(chain,)`.
    grads
        Gradients, each with the leading shape of `logdensity`, or None.
    name_culprits
        Chain number -> names of the sites at fault there, or an empty list if they are not known.

    Raises
    ------
    ValueError
        One of them is not finite.
    """
    leaves = [logdensity, *jax.tree.leaves(grads)]
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return
    shape = np.shape(logdensity)
    num_chains = shape[0] if shape else 1
    rows = [np.asarray(leaf).reshape(num_chains, -1) for leaf in leaves]
    is_finite = np.logical_and.reduce([np.isfinite(row).all(axis=1) for row in rows])
    if is_finite.all():
        return
    chain = int(np.argmin(is_finite))
    where = f"chain {chain}'s start" if shape else "the start"
    value = float(rows[0][chain, 0])
    what = f"log density is {value}" if not np.isfinite(value) else "gradient is not finite"
    sites = name_culprits(chain)
    culprits = f" (site {', '.join(map(repr, sites))})" if sites else ""
    # a density of 0 is a place outside of the support, in any precision
    hint = "" if value == -np.inf else _precision_hint()
    raise ValueError(
        f"the {what} at {where}{culprits}; start inside of the target's support (init_params), "
        f"and check the data for NaN.{hint}"
    )


def why_not_initialized(
    error: RuntimeError,
    rng_key: RngKey | Key[Array, " chain"] | UInt32[Array, "chain 2"],
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str | None:
    """What to change in a model that NumPyro cannot start; None for an error of the model's own.

    Parameters
    ----------
    error
        What NumPyro raised.
    rng_key, model, args, kwargs
        What the model was started with.
    """
    if "for discrete sites with" in str(error):
        # one that cannot be summed out: NumPyro names it
        return f"{error} Use numpyro.infer.DiscreteGibbs for it, or sum it out by hand."
    if "valid initial parameters" not in str(error):
        # of the model itself, or of JAX: too little memory, for instance
        return None
    key = rng_key if is_prng_key(rng_key) else rng_key[0]
    prior = without_likelihood(model, args, kwargs)
    info = initialize_model(key, prior, model_args=args, model_kwargs=kwargs, validate_grad=False)
    sites = nonfinite_sites(model, args, kwargs, info.param_info.z)
    culprits = f"at site {', '.join(map(repr, sites))}" if sites else "in its gradient"
    return (
        "no starting point of finite log density and gradient was found in 100 tries: it is not "
        f"finite {culprits}. Check the data for NaN and the model for values outside of a "
        "distribution's support, or give init_params or an init_strategy."
        f"{_precision_hint()}"
    )


def _precision_hint() -> str:
    """What to try in single precision; nothing in double precision."""
    if jax.config.jax_enable_x64:
        return ""
    return (
        " Values near 1e38, a Cholesky factor of an ill-conditioned matrix and a difference of "
        "large numbers are not finite in single precision either: try numpyro.enable_x64()."
    )

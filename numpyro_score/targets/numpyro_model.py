"""A NumPyro model as a density: its potential energy, its starting points, its constrained values.

NumPyro speaks of the potential energy `E`, this package of the log density; `E = -log p`, and the
sign changes in `negate` alone.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key, UInt32
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.initialization import init_to_uniform
from numpyro.infer.util import (
    _transforms_from_trace,
    compute_log_probs,
    constrain_fn,
    initialize_model,
    potential_energy,
    transform_fn,
    unconstrain_fn,
)
from numpyro.primitives import Messenger
from numpyro.util import is_prng_key

from numpyro_score.types import LogDensityFn, Position, RngKey

PotentialFn = Callable[[Any], Any]
"""Unconstrained position -> potential energy, a scalar."""


def negate(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Potential energy from a log density, or a log density from a potential energy."""
    return partial(_negated, fn)


def _negated(fn: Callable[[Any], Any], position: Position) -> Float[Array, ""]:
    return -fn(position)


class ModelFunctions(NamedTuple):
    """What a model gives a kernel, as functions of the model's own arguments.

    Attributes
    ----------
    potential_fn_gen
        `(*args, **kwargs)` -> potential energy of an unconstrained position.
    postprocess_fn_gen
        `(*args, **kwargs)` -> function from an unconstrained position to the constrained sites,
        deterministic ones included.
    transforms
        Site name -> transform from its unconstrained to its constrained value.
    has_dynamic_support
        Whether a site's support depends on other sites, so that `transforms` cannot be relied on.
    """

    potential_fn_gen: Callable[..., PotentialFn]
    postprocess_fn_gen: Callable[..., Callable[[Position], Any]]
    transforms: Mapping[str, Any]
    has_dynamic_support: bool

    def logdensity_fn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> LogDensityFn:
        """Log density of the unconstrained position, given the model's arguments."""
        return negate(self.potential_fn_gen(*args, **kwargs))

    def constrain(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the sites at an unconstrained position, without running the model."""
        return transform_fn(self.transforms, position)


def initialize(
    rng_key: RngKey | Key[Array, " chain"] | UInt32[Array, "chain 2"],
    model: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    init_strategy: Callable[..., Any] = init_to_uniform,
) -> tuple[Position, ModelFunctions]:
    """Starting points of a model, and its functions.

    Parameters
    ----------
    rng_key
        One key, or a batch of keys `(chain,)` for as many starting points.
    model, args, kwargs
        A callable of NumPyro primitives and what it is called with.
    init_strategy
        Where to start, as for NumPyro's HMC.

    Returns
    -------
    The unconstrained sites, with a leading chain axis for a batch of keys; the functions.

    Raises
    ------
    ValueError
        If no start of finite density and gradient is found (the sites at fault are named), if a
        discrete latent site cannot be summed out, or if there is nothing to sample.
    ImportError
        If there are discrete sites to sum out and funsor is not installed.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> def model():
    ...     numpyro.sample("scale", dist.Exponential(1.0))
    >>> position, functions = initialize(jax.random.key(0), model)
    >>> functions.logdensity_fn((), {})(position).shape
    ()
    """
    kwargs = dict(kwargs or {})
    try:
        info = initialize_model(
            rng_key,
            model,
            init_strategy=init_strategy,
            dynamic_args=True,
            model_args=args,
            model_kwargs=kwargs,
        )
    except ImportError as error:
        if "funsor" not in str(error):
            raise
        raise ImportError(
            "the model has discrete latent sites, which are summed out with funsor, and funsor is "
            "not installed: pip install 'numpyro-score[enum]', or sum them out by hand."
        ) from error
    except RuntimeError as error:
        raise ValueError(_why_not_initialized(error, rng_key, model, args, kwargs)) from error
    if not jax.tree.leaves(info.param_info.z):
        raise ValueError(
            "the model has no continuous latent site, so there is nothing to sample; give it a "
            "numpyro.sample(...) statement without obs=."
        )
    # what NumPyro's own HMC and Gibbs read off a trace
    transforms = _transforms_from_trace(info.model_trace, raise_warnings=False)
    return info.param_info.z, ModelFunctions(
        info.potential_fn,
        info.postprocess_fn,
        transforms.inv_transforms,
        transforms.dynamic_support,
    )


def _why_not_initialized(
    error: RuntimeError,
    rng_key: RngKey | Key[Array, " chain"] | UInt32[Array, "chain 2"],
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str:
    if "valid initial parameters" not in str(error):
        # a discrete site that cannot be summed out: NumPyro names it
        return f"{error} Use numpyro.infer.DiscreteGibbs for it, or sum it out by hand."
    key = rng_key if is_prng_key(rng_key) else rng_key[0]
    prior = _without_likelihood(model, args, kwargs)
    info = initialize_model(key, prior, model_args=args, model_kwargs=kwargs, validate_grad=False)
    sites = nonfinite_sites(model, args, kwargs, info.param_info.z)
    culprits = f"at site {', '.join(map(repr, sites))}" if sites else "in its gradient"
    return (
        "no starting point of finite log density and gradient was found in 100 tries: it is not "
        f"finite {culprits}. Check the data for NaN and the model for values outside of a "
        "distribution's support, or give init_params or an init_strategy."
    )


def _without_likelihood(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[..., Any]:
    """The model with every observed site masked out: its prior on the latent sites."""
    sites = _sample_sites(model, args, kwargs)
    return MaskSites(model, frozenset(n for n, site in sites.items() if site["is_observed"]))


def _sample_sites(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The sample sites of some trace of the model; improper priors do no harm."""
    seeded = substitute(seed(model, jax.random.key(0)), substitute_fn=init_to_uniform)
    sites = trace(seeded).get_trace(*args, **kwargs)
    return {name: site for name, site in sites.items() if site["type"] == "sample"}


class MaskSites(Messenger):
    """Handler that leaves the named sites out of the log density.

    They are named, not told by being observed, because NumPyro adds the Jacobians of its
    transforms as observed sites.
    """

    def __init__(self, fn: Callable[..., Any], names: frozenset[str]) -> None:
        super().__init__(fn)
        self._names = names

    def process_message(self, msg: dict[str, Any]) -> None:
        """Mask the site."""
        if msg["type"] == "sample" and msg["name"] in self._names:
            msg["fn"] = msg["fn"].mask(False)


def nonfinite_sites(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    position: Position,
) -> list[str]:
    """Names of the sites whose log probability is not finite at an unconstrained position."""
    constrained = constrain_fn(model, args, kwargs, position)
    log_probs, _ = compute_log_probs(model, args, dict(kwargs), constrained)
    return [name for name, value in log_probs.items() if not np.isfinite(np.sum(value))]


def unconstrain(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Unconstrained position of the given constrained site values."""
    return unconstrain_fn(model, args, dict(kwargs), dict(values))


def check_start(
    logdensity: Float[Array, "..."],
    grads: Position | None,
    name_culprits: Callable[[int], list[str]],
) -> None:
    """Refuse starting points of log density or gradient that is not finite, where it is known.

    Parameters
    ----------
    logdensity
        Shape `()` or `(chain,)`.
    grads
        Gradients, of leading shape as `logdensity`, or None.
    name_culprits
        chain number -> names of the sites at fault there, empty where that cannot be told.

    Raises
    ------
    ValueError
        If one is not finite.
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
    raise ValueError(
        f"the {what} at {where}{culprits}; start inside of the target's support (init_params), "
        "and check the data for NaN."
    )


def prior_proposal(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Callable[[RngKey], tuple[Position, Any]], Callable[[Position], Any]]:
    """The model's prior on the unconstrained sites: joint draw and density, and density alone.

    It covers the posterior's support by construction.

    Raises
    ------
    ValueError
        If there are discrete sites to sum out; from the draw, if a site's prior cannot be drawn
        from (it is improper).
    """
    for name, site in _sample_sites(model, args, kwargs).items():
        if not site["is_observed"] and site["fn"].support.is_discrete:
            raise ValueError(
                f"the model's prior has the discrete site {name!r}, and is no proposal for the "
                "continuous sites alone; give proposal=, or use another kernel."
            )
    kwargs = dict(kwargs)
    prior = _without_likelihood(model, args, kwargs)

    def log_prob(position: Position) -> Float[Array, ""]:
        return negate(partial(potential_energy, prior, args, kwargs))(position)

    def sample_and_log_prob(rng_key: RngKey) -> tuple[Position, Float[Array, ""]]:
        try:
            sites = trace(seed(model, rng_key)).get_trace(*args, **kwargs)
        except NotImplementedError as error:
            raise ValueError(
                "the model's prior cannot be drawn from, because a site's distribution is "
                "improper; give proposal=, or give the site a proper prior."
            ) from error
        values = {
            name: site["value"]
            for name, site in sites.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        position = unconstrain(model, args, kwargs, values)
        return position, log_prob(position)

    return sample_and_log_prob, log_prob

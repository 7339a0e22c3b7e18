"""Random numbers that a model draws itself: kernels use one fixed draw of them.

A kernel needs a density, the same at every call. Where a model asks for a key
(`numpyro.prng_key()`, or a site that `numpyro.handlers.block` hides), NumPyro gives it a constant
one. The posterior is then that given one draw, not that of a model with this variable.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from numpyro.handlers import seed, substitute
from numpyro.infer.initialization import init_to_uniform
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from numpyro_score.compilation import ONCE
from numpyro_score.run.check import PACKAGE


class _Keys(Messenger):
    """Handler that hands out a key, and notes that it was asked for one."""

    def __init__(self, fn: Callable[..., Any], rng_key: Any) -> None:
        super().__init__(fn)
        self.rng_key = rng_key
        self.was_asked = False

    def process_message(self, msg: dict[str, Any]) -> None:
        """Give the key."""
        if msg["type"] == "prng_key" and msg["value"] is None:
            self.was_asked = True
            msg["value"] = self.rng_key


def depends_on_keys(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    """Whether the log density at a fixed place changes with the keys that the model asks for.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def model():
    ...     noise = jax.random.normal(numpyro.prng_key())
    ...     numpyro.sample("x", dist.Normal(noise, 1.0))
    >>> depends_on_keys(model, (), {})
    True
    """
    was_asked = False

    def density(rng_key: Any) -> Any:
        nonlocal was_asked
        asking = _Keys(model, rng_key)
        # the sites' values are those of the outer key in every call
        placed = substitute(seed(asking, jax.random.key(0)), substitute_fn=init_to_uniform)
        value, _ = log_density(placed, args, dict(kwargs), {})
        was_asked = asking.was_asked
        return value

    jax.eval_shape(density, jax.random.key(0))
    if not was_asked:
        return False
    keys = jax.random.split(jax.random.key(1))
    first, second = np.asarray(jax.jit(jax.vmap(density), compiler_options=ONCE)(keys))
    return not np.array_equal(first, second, equal_nan=True)


def warn_of_randomness(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Warn of random numbers that are fixed.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.

    Warns
    -----
    UserWarning
        If the log density depends on them.
    """
    if depends_on_keys(model, args, kwargs):
        warnings.warn(
            "the model draws random numbers that are not sample sites (numpyro.prng_key(), or "
            "sites that numpyro.handlers.block hides), and its density depends on them. Every "
            "chain uses the same fixed draw, and the posterior is that given this draw. Make them "
            "sample sites, or leave them out",
            skip_file_prefixes=(PACKAGE,),
        )

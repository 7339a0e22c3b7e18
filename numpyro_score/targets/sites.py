"""The sites of one call of a NumPyro model."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.initialization import init_to_uniform

from numpyro_score.types import RngKey


def sites_of(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    rng_key: RngKey | None = None,
) -> dict[str, Any]:
    """The sites of one trace of the model, which may have improper priors.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.
    rng_key
        Of the latent sites' values, uniform in unconstrained coordinates; by default always the
        same.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def model():
    ...     numpyro.sample("x", dist.Exponential(1.0))
    ...     numpyro.deterministic("zero", 0.0)
    >>> [(name, site["type"]) for name, site in sites_of(model, (), {}).items()]
    [('x', 'sample'), ('zero', 'deterministic')]
    """
    # by no prior, for an improper one cannot be drawn from
    key = jax.random.key(0) if rng_key is None else rng_key
    started = substitute(seed(model, key), substitute_fn=init_to_uniform)
    return dict(trace(started).get_trace(*args, **kwargs))

"""The kernel that `sample` chooses for a model or a log density.

The rule, by the number of coordinates `d`:

* `d = 1`: `MALA`, since `MAMS` needs two coordinates;
* `d >= 2`: `MALA` first, where the run ends by its effective sample size and can restart with
  another kernel (`alternatives.py`); otherwise `MAMS`, whose warmup learns the trajectory length
  from all chains, and costs two to eight times as much;
* fewer than `MIN_POOLED` chains: NumPyro's `NUTS`, with hierarchies non-centered;
* the preconditioner is dense up to `d = MAX_DENSE`, and diagonal above, where there are too few
  draws to estimate a matrix.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer import NUTS
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.alternatives import (
    MAX_DENSE,
    Noncentered,
    Target,
    alternatives,
    is_dense,
    no_other,
    noncentered_form,
    reason_for,
)
from numpyro_score.run.budget import Budget, Evaluations, Seconds
from numpyro_score.run.choice import Choice
from numpyro_score.run.model_arguments import calling

MIN_POOLED = 4
"""Chains from which on a warmup that is pooled over them suffices; with fewer NUTS is chosen. 200
steps with one chain of `MAMS` left it a fifth of its efficiency, the median of eight posteriors."""
NUM_WARMUP_NUTS = 500
"""Default number of warmup steps of NUTS, where it was chosen here."""
MAX_SAMPLES = 4_000
"""Draws of each chain after which a run with `until` ends in any case."""


def can_restart(
    until: int | Budget | None, num_samples: int | None, store: str | Path | None
) -> bool:
    """Whether a run of a chosen kernel can be given up for another one.

    It can if it ends by its effective sample size, and keeps its draws in memory until then: what
    has been written to a Zarr folder stays.

    Parameters
    ----------
    until, num_samples, store
        As `sample` was given them.
    """
    counts_draws = until is None and num_samples is not None
    is_budget = isinstance(until, Evaluations | Seconds)
    is_streamed = store is not None and Path(store).suffix == ".zarr"
    return not (counts_draws or is_budget or is_streamed)


def choose(
    given: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    init_params: Any,
    num_chains: int | None = None,
    *,
    may_restart: bool = False,
) -> Choice:
    """The kernel that was given, or the recommended one of a model or a log density.

    Parameters
    ----------
    given
        A kernel, a choice that was made before, a NumPyro model or a log density. A callable is a
        log density if it returns one number when it is called with one of the positions in
        `init_params`.
    args, kwargs
        Arguments of a model.
    init_params
        Starting points with a leading chain axis, or None.
    num_chains
        As it was given; None for the default.
    may_restart
        Whether the run can be given up for another kernel.

    Raises
    ------
    TypeError
        If `given` is none of these.
    ValueError
        If the model has no continuous latent sites, or only sites of size 0.
    """
    if isinstance(given, Choice):
        return given
    if isinstance(given, MCMCKernel):
        return Choice(given, None)
    if isinstance(given, type) or not callable(given):
        shown = f"of type {type(given).__name__}" if isinstance(given, jax.Array) else repr(given)
        raise TypeError(
            f"kernel is {shown}, but must be a NumPyro kernel such as MALA(model), a NumPyro "
            "model, or a log density (with init_params); the key is the second argument."
        )
    if init_params is not None and not args and not kwargs:
        first = jax.tree.map(lambda x: x[0], init_params)
        if _is_number(given, first):
            dim = ravel_pytree(first)[0].size
            return _for({"logdensity_fn": given}, dim, num_chains, may_restart)
    dim = _dimension(given, args, kwargs)
    if dim == 0:
        raise ValueError(
            "the model has no unconstrained coordinate (no latent site, or only sites of size 0), "
            "so that all draws are alike and none is effective; use "
            "numpyro.infer.Predictive(model, num_samples=1), or give a kernel and num_samples"
        )
    # starts that were given are positions of the model as it is
    other = no_other if init_params is not None else noncentered_form(given, args, kwargs)
    return _for({"model": given}, dim, num_chains, may_restart, other)


def _is_number(given: Callable[..., Any], position: Any) -> bool:
    """Whether a function of the position returns one number; a model does not."""
    try:
        value = jax.eval_shape(given, position)
    except Exception:
        # a model cannot be called with a position, or not outside of a handler
        return False
    return getattr(value, "shape", None) == ()


def _dimension(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Unconstrained coordinates of a model."""
    # what looks at models is imported when there is one
    from numpyro_score.targets.numpyro_model import initialize

    def start(rng_key: Any) -> Any:
        return initialize(rng_key, model, args, dict(kwargs))[0]

    with calling(model, args, kwargs):
        position = jax.eval_shape(start, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(position))


def _for(
    target: Target,
    dim: int,
    num_chains: int | None,
    may_restart: bool,
    other: Callable[[], Noncentered | None] = no_other,
) -> Choice:
    from numpyro_score.infer import MALA, MAMS

    if isinstance(num_chains, int | np.integer) and 0 < num_chains < MIN_POOLED:
        return _few(target, dim, other())
    kind = MAMS if dim > 1 and not may_restart else MALA
    others = alternatives(lambda: target, dim, other) if may_restart else ()
    kernel, reason = kind(**target, dense_mass=is_dense(dim)), reason_for(kind.__name__, dim)
    return Choice(kernel, reason, others, is_bound=not may_restart)


def _few(target: Target, dim: int, found: Noncentered | None) -> Choice:
    """NUTS, which learns from each chain alone, on the non-centered form if there is one.

    A chain that has not entered the neck of a funnel does not show it, and there are no others to
    compare it with. Non-centered, strong hierarchies are sampled more slowly, and not wrongly.
    """
    what = ""
    if found is not None:
        target, what = found.target, f", with {', '.join(found.sites)} non-centered"
    density = target.get("logdensity_fn")
    given = target if density is None else {"potential_fn": lambda position: -density(position)}
    kernel = NUTS(**given, dense_mass=dim <= MAX_DENSE)
    reason = f"NUTS{what}: fewer than {MIN_POOLED} chains, too few to pool the warmup of MAMS over"
    return Choice(kernel, reason, num_warmup=NUM_WARMUP_NUTS)

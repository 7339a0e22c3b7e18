"""The kernel that `sample` chooses for a model or a log density.

The rule, by the number of coordinates `d`:

* `d = 1`: `MALA`, since `MAMS` needs two coordinates;
* `d >= 2`: `MALA` first, where the run ends by its effective sample size and can begin anew. If few
  of its draws are effective (`forecast.slow`), or if the run cannot begin anew, `MAMS`, whose
  warmup learns the trajectory length from all chains, and costs two to eight times as much;
* the preconditioner is dense up to `d = MAX_DENSE`, and diagonal above, where there are too few
  draws to estimate a matrix;
* where few draws of `MALA` are effective and the model has a hierarchy that is centered
  (`targets/noncentered.py`), `MALA` begins anew on the same posterior non-centered, before `MAMS`:
  a centered one may be a funnel, whose neck chains do not enter;
* a run that cannot reach its goal, and in which a chain stayed at one place for long
  (`forecast.stays`), is given up: the same kernel begins anew with a step size for every move.
  Funnels that are no hierarchies need it; it costs several times the gradients.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer import NUTS
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.budget import Budget, Evaluations, Seconds
from numpyro_score.run.choice import Choice, Otherwise
from numpyro_score.run.forecast import Seen, freezes, slow, stays
from numpyro_score.run.model_arguments import calling

MAX_DENSE = 100
"""Largest number of coordinates with a dense preconditioner."""
MIN_POOLED = 4
"""Chains from which on a warmup that is pooled over them suffices; with fewer NUTS is chosen. 200
steps with one chain of `MAMS` left it a fifth of its efficiency, the median of eight posteriors."""
NUM_WARMUP_NUTS = 500
"""Default number of warmup steps of NUTS, where it was chosen here."""
MAX_SAMPLES = 4_000
"""Draws of each chain after which a run with `until` ends in any case."""


def can_begin_anew(
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
    may_begin_anew: bool = False,
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
    may_begin_anew
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
            return _for({"logdensity_fn": given}, dim, num_chains, may_begin_anew)
    dim = _dimension(given, args, kwargs)
    if dim == 0:
        raise ValueError(
            "the model has no unconstrained coordinate (no latent site, or only sites of size 0), "
            "so that all draws are alike and none is effective; use "
            "numpyro.infer.Predictive(model, num_samples=1), or give a kernel and num_samples"
        )
    # starts that were given are positions of the model as it is
    other = _no_other if init_params is not None else _noncentered(given, args, kwargs)
    return _for({"model": given}, dim, num_chains, may_begin_anew, other)


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


Target = Mapping[str, Any]
"""A model or a log density, as kernels take it."""


class Noncentered(NamedTuple):
    """The same posterior with its hierarchies non-centered, and the names of their sites."""

    target: Target
    sites: tuple[str, ...]


def _no_other() -> None:
    """There is no non-centered form."""


def _noncentered(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[], Noncentered | None]:
    """A function that finds the non-centered form; it inspects the model when first called."""

    @cache
    def find() -> Noncentered | None:
        from numpyro_score.targets.noncentered import centered_sites, noncentered

        sites = centered_sites(model, args, kwargs)
        return Noncentered({"model": noncentered(model, sites)}, tuple(sites)) if sites else None

    return find


def _for(
    target: Target,
    dim: int,
    num_chains: int | None,
    may_begin_anew: bool,
    other: Callable[[], Noncentered | None] = _no_other,
) -> Choice:
    from numpyro_score.infer import MALA, MAMS

    if isinstance(num_chains, int | np.integer) and 0 < num_chains < MIN_POOLED:
        return _few(target, dim)
    kind = MAMS if dim > 1 and not may_begin_anew else MALA
    others = _others(lambda: target, dim, other) if may_begin_anew else ()
    return Choice(kind(**target, dense_mass=_is_dense(dim)), _reason(kind.__name__, dim), others)


def _others(
    target: Callable[[], Target], dim: int, other: Callable[[], Noncentered | None], what: str = ""
) -> tuple[Otherwise, ...]:
    """What takes the place of `MALA`, on a target or on another form of it."""
    from numpyro_score.infer import MALA, MAMS

    kind = MAMS if dim > 1 else MALA

    def make(**options: Any) -> MCMCKernel:
        return kind(**target(), dense_mass=_is_dense(dim), **options)

    reason = _reason(kind.__name__, dim) + what
    each_move = Otherwise(
        stays, partial(make, local_step_size=True), f"{reason}, and a step size for every move"
    )
    if dim < 2:
        return (each_move,)
    longer = Otherwise(slow, make, f"{reason}, after MALA", (each_move,))
    return (longer,) if other is _no_other else (*_noncentered_first(dim, other, longer), longer)


def _noncentered_first(
    dim: int, other: Callable[[], Noncentered | None], longer: Otherwise
) -> tuple[Otherwise, Otherwise]:
    """`MALA` on the non-centered form of a model, if there is one.

    If that is slow too, `MAMS` runs on it where chains froze on the model as it is, and on the
    model as it is where they did not, until they do.
    """
    from numpyro_score.infer import MALA

    def target() -> Target:
        found = other()
        assert found is not None
        return found.target

    def where_centered(fault: Callable[[Seen], str], seen: Seen) -> str:
        found = other() if (told := fault(seen)) else None
        return "" if found is None else f"with {', '.join(found.sites)} centered {told}"

    def make() -> MCMCKernel:
        return MALA(**target(), dense_mass=_is_dense(dim))

    what = ", non-centered"
    reason, then = _reason("MALA", dim) + what, _others(target, dim, _no_other, what)
    # MALA may have been given up before it came to the neck
    back = then[0]._replace(fault=partial(where_centered, freezes))
    longer = longer._replace(then=(back, *longer.then))
    return (
        Otherwise(partial(where_centered, freezes), make, reason, then),
        Otherwise(partial(where_centered, slow), make, reason, (longer,)),
    )


def _is_dense(dim: int) -> bool:
    return 2 <= dim <= MAX_DENSE


def _few(target: Target, dim: int) -> Choice:
    """NUTS, which learns from each chain alone."""
    density = target.get("logdensity_fn")
    what = target if density is None else {"potential_fn": lambda position: -density(position)}
    kernel = NUTS(**what, dense_mass=dim <= MAX_DENSE)
    reason = f"NUTS: fewer than {MIN_POOLED} chains, too few to pool the warmup of MAMS over"
    return Choice(kernel, reason, num_warmup=NUM_WARMUP_NUTS)


def _reason(name: str, dim: int) -> str:
    if dim < 2:
        return f"{name}: one coordinate"
    kind = "dense" if _is_dense(dim) else "diagonal"
    return f"{name} with a {kind} preconditioner: {dim} coordinates (dense up to {MAX_DENSE})"

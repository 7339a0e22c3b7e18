"""What takes the place of `MALA` where it does not suffice.

The rule, by what the draws so far tell:

* a run whose chains stay in different modes, or that lacks modes (`several_modes.py`), is given up
  for `GlobalLocal` with up to `MAX_JUMPS` coordinates: no local kernel gets the weights of modes
  right;
* where few draws of `MALA` are effective (`forecast.slow`) and the model has a hierarchy that is
  centered (`targets/noncentered.py`), `MALA` restarts on the same posterior non-centered, before
  `MAMS`: a centered one may be a funnel, whose neck chains do not enter;
* where few are effective, `MAMS` follows, whose warmup learns the trajectory length from all
  chains, and costs two to eight times as much;
* a run that cannot reach its goal, and in which a chain stayed at one place for long
  (`forecast.stays`), is given up: the same kernel restarts with a step size for every move.
  Funnels that are no hierarchies need it; it costs several times the gradients.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.choice import Otherwise
from numpyro_score.run.forecast import Seen, freezes, slow, stays
from numpyro_score.run.several_modes import several_modes

MAX_DENSE = 100
"""Largest number of coordinates with a dense preconditioner."""
MAX_JUMPS = 128
"""Largest number of coordinates for which jumps between modes are learned: the most in which those
of mixtures were measured."""

Target = Mapping[str, Any]
"""A model or a log density, as kernels take it."""


class Noncentered(NamedTuple):
    """The same posterior with its hierarchies non-centered, and the names of their sites."""

    target: Target
    sites: tuple[str, ...]


def no_other() -> None:
    """There is no non-centered form."""


def noncentered_form(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[], Noncentered | None]:
    """A function that finds the non-centered form; it inspects the model when first called."""

    @cache
    def find() -> Noncentered | None:
        from numpyro_score.targets.noncentered import centered_sites, noncentered

        sites = centered_sites(model, args, kwargs)
        return Noncentered({"model": noncentered(model, sites)}, tuple(sites)) if sites else None

    return find


def alternatives(
    target: Callable[[], Target], dim: int, other: Callable[[], Noncentered | None]
) -> tuple[Otherwise, ...]:
    """What takes the place of `MALA`, the first whose fault is found.

    Parameters
    ----------
    target
        Makes what to sample.
    dim
        Its unconstrained coordinates.
    other
        Finds its non-centered form.
    """
    jumps = _jumps(target, dim)
    if dim < 2:
        return (*jumps, _each_move(target, dim))
    longer = _longer(target, dim)
    return (*jumps, *_noncentered_first(dim, other, longer), longer)


def _jumps(target: Callable[[], Target], dim: int, what: str = "") -> tuple[Otherwise, ...]:
    """`GlobalLocal`, where there are several modes."""

    def make() -> MCMCKernel:
        from numpyro_score.infer import GlobalLocal

        return GlobalLocal(**target())

    size = f"{_coordinates(dim)} (up to {MAX_JUMPS})"
    reason = f"GlobalLocal, which learns jumps between modes: {size}{what}"
    return (Otherwise(several_modes, make, reason),) if dim <= MAX_JUMPS else ()


def _longer(target: Callable[[], Target], dim: int, what: str = "") -> Otherwise:
    """`MAMS`, where few draws of `MALA` are effective."""
    then = (*_jumps(target, dim, what), _each_move(target, dim, what))
    reason = f"{reason_for('MAMS', dim)}{what}, after MALA"
    return Otherwise(slow, partial(_trajectories, target, dim), reason, then)


def _each_move(target: Callable[[], Target], dim: int, what: str = "") -> Otherwise:
    """A step size for every move, where chains stay at a place."""
    make = partial(_trajectories, target, dim, local_step_size=True)
    name = "MAMS" if dim > 1 else "MALA"
    reason = f"{reason_for(name, dim)}{what}, and a step size for every move"
    return Otherwise(stays, make, reason, _jumps(target, dim, what))


def _trajectories(target: Callable[[], Target], dim: int, **options: Any) -> MCMCKernel:
    """`MAMS`, or in one dimension `MALA`."""
    from numpyro_score.infer import MALA, MAMS

    kind = MAMS if dim > 1 else MALA
    return kind(**target(), dense_mass=is_dense(dim), **options)


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
        return MALA(**target(), dense_mass=is_dense(dim))

    what = ", non-centered"
    reason, jumps = reason_for("MALA", dim) + what, _jumps(target, dim, what)
    then = _longer(target, dim, what)
    # MALA may have been given up before it came to the neck
    back = then._replace(fault=partial(where_centered, freezes))
    longer = longer._replace(then=(back, *longer.then))
    return (
        Otherwise(partial(where_centered, freezes), make, reason, (*jumps, then)),
        Otherwise(partial(where_centered, slow), make, reason, (*jumps, longer)),
    )


def is_dense(dim: int) -> bool:
    """Whether the preconditioner is a matrix.

    Examples
    --------
    >>> is_dense(1), is_dense(10), is_dense(1_000)
    (False, True, False)
    """
    return 2 <= dim <= MAX_DENSE


def reason_for(name: str, dim: int) -> str:
    """The rule that chooses a kernel of this name.

    Examples
    --------
    >>> reason_for("MALA", 10)
    'MALA with a dense preconditioner: 10 coordinates (dense up to 100)'
    """
    if dim < 2:
        return f"{name}: {_coordinates(dim)}"
    kind = "dense" if is_dense(dim) else "diagonal"
    size = f"{_coordinates(dim)} (dense up to {MAX_DENSE})"
    return f"{name} with a {kind} preconditioner: {size}"


def _coordinates(dim: int) -> str:
    return "one coordinate" if dim == 1 else f"{dim} coordinates"

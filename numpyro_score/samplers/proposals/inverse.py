"""The inverse of one step of a flow, by Newton's method, and its derivative.

A step maps `y` to `x = f(y, p)`, with p its parameters: those of the score, its time, its ratio.
Newton's method finds y from x. The derivative of what it finds does not depend on how it was
found: by the implicit function theorem, with `J = df/dy`,

    dy = J^-1 (dx - df/dp dp),    d log det J = tr(J^-1 dJ),

so that neither the iterations nor their number enter a gradient, and nothing of them is stored
(Christianson 1994, doi:10.1080/10556789408805572; Blondel et al. 2022, arXiv:2105.15183).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.types import Scalar

Point = Float[Array, " dim"]

MAX_NEWTON = 10
"""Largest number of Newton iterations in one step; two to four are usual."""

TIGHT = 16
"""Residual, in units of rounding, at which Newton's method stops."""

LOOSE = 2048
"""Residual, in units of rounding, above which the inversion has failed."""


@runtime_checkable
class Step(Protocol):
    """One step of a flow: a pytree, whose arrays are what a derivative may be taken in."""

    def move(self, y: Point, t: Scalar, r: Scalar) -> Point:
        """The point that the step maps `y` to."""
        ...


class Undone(NamedTuple):
    """A step undone.

    Attributes
    ----------
    y
        The point that the step maps to the given one.
    log_det
        Log determinant of the step's Jacobian there; NaN where it is not positive.
    error
        Residual, relative to the size of the point; inf where it is not finite.
    """

    y: Point
    log_det: Float[Array, ""]
    error: Float[Array, ""]


class _Search(NamedTuple):
    """State of Newton's method."""

    y: Point
    step: Point
    log_det: Float[Array, ""]
    error: Float[Array, ""]
    is_open: Bool[Array, ""]
    turns: Array


def moved(step: Step, y: Point, t: Scalar, r: Scalar) -> tuple[Point, Float[Array, "dim dim"]]:
    """The point that a step maps `y` to, and the Jacobian there."""

    def twice(y: Point) -> tuple[Point, Point]:
        new = step.move(y, t, r)
        return new, new

    jacobian, new = jax.jacfwd(twice, has_aux=True)(y)
    return new, jacobian


def _search(step: Step, target: Point, t: Scalar, r: Scalar, begin: Point) -> Undone:
    unit = jnp.finfo(target.dtype).eps
    size = 1 + jnp.max(jnp.abs(target))

    def turn(search: _Search) -> _Search:
        y = search.y + search.step
        new, jacobian = moved(step, y, t, r)
        gap = target - new
        error = jnp.max(jnp.abs(gap)) / size
        # converged to rounding error: the residual is small and no longer decreases
        stays = (error > search.error / 2) & (error < LOOSE * unit)
        is_open = (error > TIGHT * unit) & ~stays
        factors = lu_factor(jacobian)
        change, log_det = lu_solve(factors, gap), log_determinant(factors)
        return _Search(y, change, log_det, error, is_open, search.turns + 1)

    def goes_on(search: _Search) -> Bool[Array, ""]:
        return search.is_open & (search.turns < MAX_NEWTON)

    zero = jnp.zeros((), target.dtype)
    first = _Search(
        target, begin - target, zero, zero + jnp.inf, zero < 1, jnp.zeros((), jnp.int32)
    )
    end = jax.lax.while_loop(goes_on, turn, first)
    return Undone(end.y, end.log_det, jnp.where(jnp.isfinite(end.error), end.error, jnp.inf))


@eqx.filter_custom_jvp
def undo(step: Step, target: Point, t: Scalar, r: Scalar, begin: Point) -> Undone:
    """The point that a step maps to `target`, searched from `begin`.

    Parameters
    ----------
    step
        The step; its derivatives are those of its own arrays.
    target
        Where the step leads to.
    t, r
        Time and ratio of the step.
    begin
        Where the search begins; the result does not depend on it.
    """
    return _search(step, target, t, r, begin)


@undo.def_jvp
def _undo_jvp(primals: Any, tangents: Any) -> tuple[Undone, Undone]:
    step, target, t, r, begin = primals
    d_step, d_target, d_t, d_r, _ = tangents
    found = undo(step, target, t, r, begin)
    # a step that could not be undone has density 0, and no derivative
    is_found = jnp.isfinite(found.log_det) & jnp.isfinite(found.error)
    y = jnp.where(is_found, found.y, target)
    parameters, changes = (step, t, r), (d_step, d_t, d_r)
    jacobian = jnp.where(is_found, moved(step, y, t, r)[1], jnp.eye(y.size, dtype=y.dtype))
    factors = lu_factor(jacobian)
    # a tangent of None is 0
    change = jnp.zeros_like(y) if d_target is None else d_target
    if jax.tree.leaves(changes):
        change = change - _derivative(lambda p: p[0].move(y, *p[1:]), parameters, changes)
    d_y = jnp.where(is_found, lu_solve(factors, change), 0.0)
    d_jacobian = _derivative(
        lambda p: moved(p[0], p[1], *p[2:])[1], (step, y, t, r), (d_step, d_y, d_t, d_r)
    )
    d_log_det = jnp.where(is_found, jnp.trace(lu_solve(factors, d_jacobian)), 0.0)
    return found, Undone(d_y, d_log_det, jnp.zeros_like(found.error))


def _derivative(fn: Callable[[Any], Array], point: Any, tangent: Any) -> Array:
    value, change = eqx.filter_jvp(fn, (point,), (tangent,))
    # of a function that does not depend on what is moved, there is none
    return jnp.zeros_like(value) if change is None else change


def log_determinant(factors: tuple[Float[Array, "dim dim"], Int[Array, " dim"]]) -> Array:
    """Log determinant of an LU-factored matrix; NaN where the determinant is not positive."""
    upper, pivots = factors
    diagonal = jnp.diagonal(upper)
    num_swaps = jnp.sum(pivots != jnp.arange(pivots.size))
    is_positive = (num_swaps + jnp.sum(diagonal < 0)) % 2 == 0
    return jnp.where(is_positive, jnp.sum(jnp.log(jnp.abs(diagonal))), jnp.nan)

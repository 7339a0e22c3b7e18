"""Values of what a kernel samples at fixed points, by which a run knows its target again.

They see whatever the density depends on: an edited model, a closure, a global variable, a function
among the arguments. A model's sites count one by one, so that a changed prior is not lost beside a
large likelihood. What differs only far away from the points is not seen.

On one machine the values are the same bits. Elsewhere, or in batches of another size, they agree to
rounding: on posteriors with 8 to a million data the largest difference between float32 and float64
was 30 units in the last place, relative to the value, or to the norm of the gradient. `TOLERANCE`
allows for some thirty times that.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from numpyro_score.constants import given_density
from numpyro_score.fingerprint import fingerprint
from numpyro_score.run.program import Program, field
from numpyro_score.targets.numpyro_model import negate
from numpyro_score.targets.start import site_log_probs
from numpyro_score.types import LogDensityFn

PROBES = "log density at fixed points"
"""Name of the entry."""

SCALES = (0.1, 0.5, 1.0, 2.0)
"""Standard deviations of the points, in unconstrained coordinates; a point each."""

MAX_STARTS = 4
"""Points of `init_params` that are looked at too: a function may have no support elsewhere."""

NUM_PROJECTIONS = 3
"""Random directions by which a gradient is known, besides its norm."""

TOLERANCE = 1000
"""Largest relative difference that counts as rounding, in units in the last place."""

MAX_NAMED = 3
"""Differences that a message names."""

type Values = dict[str, list[list[Any]]]
"""What was evaluated -> for every point a scale and numbers of that scale."""


def probe(program: Program, state: Any, init_params: Any) -> dict[str, Any]:
    """Log density, gradient and sites at the points.

    Parameters
    ----------
    program
        What runs.
    state
        Of its chains, for the structure of a position.
    init_params
        Starting points with a leading axis, or None.

    Returns
    -------
    `values`, the numbers, and `precision`, the unit in the last place. Where nothing can be
    evaluated, the fingerprint of what was given stands for it.
    """
    template = jax.eval_shape(
        lambda s: jax.tree.map(lambda x: x[0], field(s, program.kernel.sample_field)), state
    )
    points = _points(template, init_params)
    # a kernel of another package, or a model that no function of its sites describes
    return _probed(lambda: _evaluate(program, points), lambda: given_density(program.kernel))


def probe_density(logdensity_fn: LogDensityFn, dim: int) -> dict[str, Any]:
    """A log density and its gradient at the points.

    Parameters
    ----------
    logdensity_fn
        Of a position `(dim,)`.
    dim
        Its length.

    Returns
    -------
    As `probe` does.

    Examples
    --------
    >>> one, other = (probe_density(lambda x: -s * (x @ x), 2) for s in (1.0, 2.0))
    >>> differing_probes(one, one), len(differing_probes(one, other))
    ([], 2)
    """
    points = _points(jax.ShapeDtypeStruct((dim,), jnp.result_type(float)), None)
    return _probed(
        lambda: jax.jit(partial(_of_density, logdensity_fn))(points), lambda: logdensity_fn
    )


def _probed(evaluate: Callable[[], Any], given: Callable[[], Any]) -> dict[str, Any]:
    dtype = jnp.result_type(float)
    with warnings.catch_warnings(), jax.default_matmul_precision("highest"):
        warnings.simplefilter("ignore")
        try:
            found = evaluate()
        except Exception:
            return {"given": fingerprint(given())}
    return {"values": _in_numbers(found), "precision": float(jnp.finfo(dtype).eps)}


def _points(template: Any, init_params: Any) -> Any:
    """Points that depend on the structure alone, then the first starts; leading axis `point`."""
    rng = np.random.default_rng(0)

    def one(scale: float) -> Any:
        return jax.tree.map(lambda x: (scale * rng.normal(size=x.shape)).astype(x.dtype), template)

    points = [one(scale) for scale in SCALES]
    stacked = jax.tree.map(lambda *x: np.stack(x), *points)
    if init_params is None:
        return stacked
    return jax.tree.map(
        lambda x, start: np.concatenate([x, np.asarray(start)[:MAX_STARTS].astype(x.dtype)]),
        stacked,
        init_params,
    )


@partial(jax.jit, static_argnames="program")
def _evaluate(program: Program, points: Any) -> dict[str, tuple[Any, Any]]:
    """Name -> scale and numbers of that scale, each with a leading axis `point`."""
    density = _logdensity_fn(program)
    found = {} if density is None else _of_density(density, points)
    constants, kernel = program.constants, program.kernel
    sites = jax.vmap(kernel.postprocess_fn(constants.args, constants.kwargs))(points)
    if isinstance(sites, Mapping):
        found |= {f"site {k}": _projected(v.reshape(len(v), -1)) for k, v in sites.items()}
    model = getattr(kernel, "model", None)
    if model is not None and isinstance(sites, Mapping):
        log_probs = jax.vmap(lambda x: site_log_probs(model, constants.args, constants.kwargs, x))(
            sites
        )
        for name, value in log_probs.items():
            found[f"log density of site {name}"] = (
                jnp.maximum(jnp.abs(value), 1.0),
                value[:, None],
            )
    return found


def _of_density(density: LogDensityFn, points: Any) -> dict[str, tuple[Any, Any]]:
    """Value and gradient, as `_evaluate` returns them."""
    try:
        value, grad = jax.vmap(jax.value_and_grad(density))(points)
    except TypeError:
        # integers, or a loop that is not differentiated
        value, grad = jax.vmap(density)(points), {}
    found = {"log density": (jnp.maximum(jnp.abs(value), 1.0), value[:, None])}
    if jax.tree.leaves(grad):
        found["gradient"] = _projected(jax.vmap(lambda x: ravel_pytree(x)[0])(grad))
    return found


def _projected(rows: Any) -> tuple[Any, Any]:
    """Norm of each row, and its components along random directions of unit scale."""
    rows = rows.astype(jnp.result_type(float))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(rows.shape[1], NUM_PROJECTIONS))
    norm = jnp.linalg.norm(rows, axis=1)
    return norm, jnp.concatenate([norm[:, None], rows @ signs.astype(rows.dtype)], axis=1)


def _logdensity_fn(program: Program) -> Callable[[Any], Any] | None:
    """Log density of a position, of our kernels and of NumPyro's; None where none is known."""
    kernel, (args, kwargs) = program.kernel, (program.constants.args, program.constants.kwargs)
    problem = getattr(kernel, "_problem", None)
    if problem is not None:
        return problem.logdensity_fn(args, kwargs)
    make = getattr(kernel, "_potential_fn_gen", None)
    potential = getattr(kernel, "_potential_fn", None) if make is None else make(*args, **kwargs)
    return None if potential is None else negate(potential)


def _in_numbers(found: dict[str, tuple[Any, Any]]) -> Values:
    """As plain numbers; what is not finite as a word, which JSON has no number for."""

    def plain(value: float) -> float | str:
        return value if np.isfinite(value) else str(value)

    values: Values = {}
    for name, (scale, numbers) in jax.device_get(found).items():
        rows = np.concatenate([np.asarray(scale)[:, None], numbers], axis=1).astype(float)
        values[name] = [[plain(float(x)) for x in row] for row in rows]
    return values


def differing_probes(known: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs by more than rounding, in words.

    Parameters
    ----------
    known, new
        As `probe` returns them.
    """
    if "values" not in known or "values" not in new:
        return [] if known == new else ["what the kernel was given to sample is another function"]
    tolerance = TOLERANCE * max(known["precision"], new["precision"])
    found = []
    for name in {**known["values"], **new["values"]}:
        old, now = known["values"].get(name), new["values"].get(name)
        if old is None or now is None:
            found.append(f"{name} is {'missing' if now is None else 'new'}")
        elif (at := _first_difference(old, now, tolerance)) is not None:
            was, is_now = (rows[at][1:2] or ["nothing"] for rows in (old, now))
            found.append(f"the {name} at a fixed point was {was[0]} and is {is_now[0]}")
    # what says most comes first
    found.sort(key=lambda text: not text.startswith("the log density at"))
    more = len(found) - MAX_NAMED
    return [*found[:MAX_NAMED], *([f"and {more} more"] if more > 0 else [])]


def _first_difference(old: list[list[Any]], new: list[list[Any]], tolerance: float) -> int | None:
    """Number of the first point at which values differ by more than rounding."""
    nothing: list[Any] = []
    for at, (left, right) in enumerate(zip_longest(old, new, fillvalue=nothing)):
        scale = max((x for x in (*left[:1], *right[:1]) if isinstance(x, float)), default=0.0)
        for a, b in zip_longest(left, right):
            is_same = a == b or (
                isinstance(a, float) and isinstance(b, float) and abs(a - b) <= tolerance * scale
            )
            if not is_same:
                return at
    return None

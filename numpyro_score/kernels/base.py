"""Shared by all kernels: checked evaluation of a density, loops of steps, binding of parameters."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.preconditioner import as_preconditioner, check_inverse_mass_matrix
from numpyro_score.step_size import check_step_size
from numpyro_score.types import LogDensityFn, Position, RngKey, Temperature

if TYPE_CHECKING:
    import blackjax


def check_position(position: Position) -> None:
    """Check that a position consists of real floating-point arrays.

    Raises
    ------
    TypeError
        A leaf does not.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(position):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"the position's leaf {jax.tree_util.keystr(path) or '(the whole)'} has type "
                f"{jnp.result_type(leaf)}; kernels move real coordinates: convert it with "
                "jnp.asarray(..., dtype=float), or marginalize a discrete variable out."
            )


def check_scalar(value: Any) -> None:
    """Check that a log density is a real scalar.

    Raises
    ------
    ValueError
        Its shape is not `()`.
    TypeError
        It is no floating-point number.
    """
    if value is None:
        raise TypeError("the log density returned None, but must return a number; add a return.")
    if jnp.shape(value) != ():
        raise ValueError(
            f"the log density has shape {jnp.shape(value)} but must be a scalar for one chain; "
            "sum over the independent terms (jnp.sum), and leave batches of chains to jax.vmap."
        )
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise TypeError(
            f"the log density has type {jnp.result_type(value)} but must be a floating-point "
            "number; compute it from the position without rounding or comparing, and take the "
            "real part of a complex one."
        )


def evaluate(logdensity_fn: LogDensityFn, position: Position) -> Float[Array, ""]:
    """Log density at `position`, after checks that the position is real and the value a scalar."""
    check_position(position)
    logdensity = logdensity_fn(position)
    check_scalar(logdensity)
    return jnp.asarray(logdensity)


def refusing_infinity(logdensity_fn: LogDensityFn) -> LogDensityFn:
    """The log density, NaN where it is +inf: BlackJAX's kernels refuse such a candidate then."""

    def finite(position: Position) -> Float[Array, ""]:
        value = logdensity_fn(position)
        return jnp.where(value == jnp.inf, jnp.nan, value)

    return finite


def check_temperature(temperature: Temperature) -> None:
    """Check that a temperature is at least 0, unless it is a schedule or traced.

    Raises
    ------
    ValueError
        It is below 0 or NaN.
    """
    if callable(temperature) or isinstance(temperature, jax.core.Tracer):
        return
    if not np.asarray(temperature) >= 0:
        raise ValueError(
            f"temperature is {temperature} but must be 0 or more: 1 samples the density p, T "
            "samples p^(1/T), and 0 accepts only uphill moves."
        )


def run_steps[Carry, Info](
    step: Callable[[RngKey, Carry], tuple[Carry, Info]],
    rng_key: RngKey,
    carry: Carry,
    num_steps: int,
) -> tuple[Carry, Info]:
    """Make `num_steps` steps in one scan.

    Parameters
    ----------
    step
        `(rng_key, carry) -> (carry, info)`: a kernel's step, or one that also keeps sums.
    rng_key
        One key, split into one for each step.
    carry
        Where to start.
    num_steps
        Number of steps.

    Returns
    -------
    The last carry, and the infos with a leading axis of steps; what is not used of them is not
    computed.
    """
    keys = jax.random.split(rng_key, num_steps)
    return jax.lax.scan(lambda carry, key: step(key, carry), carry, keys)


def bind(
    kernel: Callable[..., Any],
    init: Callable[..., Any],
    logdensity_fn: LogDensityFn | None,
    parameters: Mapping[str, Any],
) -> "blackjax.SamplingAlgorithm":
    """Bind a kernel to a density and to fixed parameters, after checks.

    An inverse mass matrix is factored once.

    Parameters
    ----------
    kernel
        `(rng_key, state, logdensity_fn, **parameters) -> (state, info)`.
    init
        `(position, logdensity_fn, ...) -> state`; it is given the parameters that it names.
    logdensity_fn
        The target.
    parameters
        Keyword arguments of the kernel.

    Raises
    ------
    ValueError
        A step size, a temperature or an inverse mass matrix is not valid.
    """
    from blackjax import SamplingAlgorithm

    parameters = dict(parameters)
    if "step_size" in parameters:
        check_step_size(parameters["step_size"])
    check_temperature(parameters.get("temperature", 1.0))
    inverse_mass_matrix = parameters.get("inverse_mass_matrix")
    if inverse_mass_matrix is not None:
        check_inverse_mass_matrix(inverse_mass_matrix, dim=None)
        parameters["inverse_mass_matrix"] = as_preconditioner(inverse_mass_matrix)
    accepted_by_init = inspect.signature(init).parameters
    init_parameters = {k: v for k, v in parameters.items() if k in accepted_by_init}

    def init_fn(position: Position, rng_key: RngKey | None = None) -> Any:
        del rng_key
        dim = ravel_pytree(position)[0].size
        check_inverse_mass_matrix(parameters.get("inverse_mass_matrix"), dim)
        return init(position, logdensity_fn, **init_parameters)

    def step_fn(rng_key: RngKey, state: Any) -> tuple[Any, Any]:
        return kernel(rng_key, state, logdensity_fn, **parameters)

    return SamplingAlgorithm(init_fn, step_fn)

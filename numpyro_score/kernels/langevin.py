"""Langevin dynamics, and its unadjusted kernel (ULA).

The Euler-Maruyama step of `dX = P grad log p dt + sqrt(2 T) P^(1/2) dW` is

    x' = x + eps P s(x) + sqrt(2 eps T) P^(1/2) z,    z ~ N(0, I),

with `s` the score or another drift. The Hastings correction of the candidate `x'` is

    T (log q(x | x') - log q(x' | x))
        = -(s(x) + s(x')) . (x' - x) / 2 - eps / 4 (|s(x')|_P^2 - |s(x)|_P^2),

with `|s|_P^2 = s^T P s`. This form needs no inverse of `P` and has no cancellation of large norms
(algorithm: Roberts and Tweedie 1996, doi:10.2307/3318418). The correction is minus the energy error
of one leapfrog step, minus the change of the log density.

Without accept/reject the stationary distribution is not the target: on a unit Gaussian its variance
is `1 / (1 - eps / 2)` at T = 1 (eps < 2). At T = 0 the chain is gradient ascent.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, check_position, check_scalar
from numpyro_score.kernels.metropolis import MetropolisInfo, accept_reject, temperature_at
from numpyro_score.preconditioner import (
    InverseMassMatrix,
    as_preconditioner,
    scale,
    scale_transpose,
)
from numpyro_score.types import (
    DriftFn,
    LogDensityFn,
    Position,
    RngKey,
    Scalar,
    ScoreFn,
    Temperature,
)

if TYPE_CHECKING:
    import blackjax


class LangevinState(NamedTuple):
    """State of a Langevin chain.

    Attributes
    ----------
    position
        Current position, a pytree.
    logdensity
        Its log density, a scalar; NaN if only a score is known.
    logdensity_grad
        The drift at the position, a pytree like it: the gradient of the log density, or the value
        of the `drift_fn` or `score_fn` that replaces it.
    step
        Number of steps taken, the argument of a temperature schedule.
    """

    position: Position
    logdensity: Float[Array, ""]
    logdensity_grad: Position
    step: Int[Array, ""]


def logdensity_and_drift(
    logdensity_fn: LogDensityFn | None, drift_fn: DriftFn | None
) -> Callable[[Position], tuple[Float[Array, ""], Position]]:
    """Function of the position that returns the log density and the drift."""
    if drift_fn is None and logdensity_fn is None:
        raise ValueError(
            "there is no drift: give logdensity_fn, or a score_fn if only the score is known."
        )
    if drift_fn is None:
        assert logdensity_fn is not None
        return jax.value_and_grad(logdensity_fn)

    def evaluate(position: Position) -> tuple[Float[Array, ""], Position]:
        drift = drift_fn(position)
        if logdensity_fn is None:
            # a score does not determine the value of the density
            return jnp.full((), jnp.nan, ravel_pytree(position)[0].dtype), drift
        return logdensity_fn(position), drift

    return evaluate


def init(
    position: Position, logdensity_fn: LogDensityFn | None, drift_fn: DriftFn | None = None
) -> LangevinState:
    """State of a chain that starts at `position`.

    `drift_fn` must be that of the kernel, since its value is part of the state.

    Raises
    ------
    ValueError, TypeError
        The log density is not a scalar, the position holds integers, the drift has another shape
        than the position, or neither function is given.
    """
    check_position(position)
    if drift_fn is None and logdensity_fn is not None:
        check_scalar(jax.eval_shape(logdensity_fn, position))
    logdensity, drift = logdensity_and_drift(logdensity_fn, drift_fn)(position)
    check_scalar(logdensity)
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (drift, position)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the drift has shapes {shapes[0]} but the position has {shapes[1]}; drift_fn must "
            "return a pytree like its argument."
        )
    return LangevinState(position, logdensity, drift, jnp.zeros((), jnp.int32))


def langevin_step(
    rng_key: RngKey,
    state: LangevinState,
    logdensity_fn: LogDensityFn | None,
    *,
    drift_fn: DriftFn | None,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix,
    temperature: Temperature,
    is_adjusted: bool | Bool[Array, ""],
) -> tuple[LangevinState, MetropolisInfo]:
    """One Langevin step, with (MALA) or without (ULA) accept/reject."""
    key_noise, key_accept = jax.random.split(rng_key)
    preconditioner = as_preconditioner(inverse_mass_matrix)
    now = temperature_at(temperature, state.step)
    x, unravel = ravel_pytree(state.position)
    grad = ravel_pytree(state.logdensity_grad)[0]
    drift = scale_transpose(preconditioner, grad)
    noise = jax.random.normal(key_noise, x.shape, x.dtype)
    move = step_size * drift + jnp.sqrt(2 * step_size * now) * noise
    new_x = x + scale(preconditioner, move)
    position = unravel(new_x)

    logdensity, new_grad = logdensity_and_drift(logdensity_fn, drift_fn)(position)
    new_grad_flat = ravel_pytree(new_grad)[0]
    if is_adjusted is False:
        log_ratio = jnp.zeros((), x.dtype)
        is_valid = jnp.all(jnp.isfinite(new_grad_flat))
    else:
        new_drift = scale_transpose(preconditioner, new_grad_flat)
        # from the two positions, not from the noise, which a compiler would generate twice
        line = 0.5 * (grad + new_grad_flat) * (new_x - x)
        lengths = 0.25 * step_size * (new_drift + drift) * (new_drift - drift)
        # one fused reduction; NaN or infinite if an entry of a gradient is
        correction = jnp.sum(line + lengths)
        log_ratio = logdensity - state.logdensity - correction
        is_valid = jnp.isfinite(correction)
    step = state.step + 1
    return accept_reject(
        key_accept,
        state._replace(step=step),
        LangevinState(position, logdensity, new_grad, step),
        log_ratio=log_ratio,
        logdensity=log_ratio if logdensity_fn is None else logdensity,
        temperature=now,
        is_adjusted=is_adjusted,
        is_valid=is_valid,
    )


def init_ula(
    position: Position, logdensity_fn: LogDensityFn | None, score_fn: ScoreFn | None = None
) -> LangevinState:
    """State of an unadjusted chain that starts at `position`; see `init`."""
    return init(position, logdensity_fn, score_fn)


def build_kernel() -> Callable[..., tuple[LangevinState, MetropolisInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix)`."""

    def kernel(
        rng_key: RngKey,
        state: LangevinState,
        logdensity_fn: LogDensityFn | None,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        score_fn: ScoreFn | None = None,
        temperature: Temperature = 1.0,
    ) -> tuple[LangevinState, MetropolisInfo]:
        return langevin_step(
            rng_key,
            state,
            logdensity_fn,
            drift_fn=score_fn,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            temperature=temperature,
            is_adjusted=False,
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn | None = None,
    step_size: Scalar = 0.1,
    inverse_mass_matrix: InverseMassMatrix = None,
    score_fn: ScoreFn | None = None,
    temperature: Temperature = 1.0,
) -> "blackjax.SamplingAlgorithm":
    """Unadjusted Langevin algorithm, **biased**: its stationary distribution is not the target.

    The bias vanishes with `eps` (variance `1 / (1 - eps / 2)` on a unit Gaussian). The chain
    diverges if `eps` times the largest eigenvalue of `P^(1/2)^T (-Hessian) P^(1/2)` exceeds 2. A
    move to a position where the log density or the score is not finite is rejected and counted as
    divergent.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized; None if only a score is known.
    step_size
        `eps > 0`, units of time.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity.
    score_fn
        Position -> gradient of the log density, in place of the gradient of `logdensity_fn`.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)` up to the bias,
        and 0 is gradient ascent.

    Raises
    ------
    ValueError
        Neither function is given, the step size is not above 0, or `P` is not valid.

    Examples
    --------
    Gradient ascent on a parabola, with a score alone:

    >>> import jax, jax.numpy as jnp
    >>> algorithm = ula(score_fn=lambda x: 3.0 - x, step_size=0.5, temperature=0.0)
    >>> state = algorithm.init(jnp.array(0.0))
    >>> for key in jax.random.split(jax.random.key(0), 20):
    ...     state, info = algorithm.step(key, state)
    >>> round(float(state.position), 3)
    3.0
    """
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "score_fn": score_fn,
        "temperature": temperature,
    }
    logdensity_and_drift(logdensity_fn, score_fn)
    return bind(build_kernel(), init_ula, logdensity_fn, parameters)


ula = MarkovKernel(as_top_level_api, init_ula, build_kernel)

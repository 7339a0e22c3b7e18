"""The step size of a Markov kernel: its check, and the feedback by which it is adapted."""

from typing import Any

from jaxtyping import Array, Float

from numpyro_score.checks import check_positive


def check_step_size(step_size: Any) -> None:
    """Check that a step size is above 0 and finite, unless it is traced.

    Raises
    ------
    ValueError
        It is 0, negative, infinite or NaN.
    """
    check_positive(
        "step_size",
        step_size,
        hint="start from 0.1, or leave it out of a NumPyro kernel to have it adapted.",
    )


def follow_acceptance(
    log_step_size: Float[Array, "..."],
    acceptance_rate: Float[Array, "..."],
    target_acceptance_rate: float,
    *,
    gain: float | Float[Array, ""],
) -> Float[Array, "..."]:
    """One step of stochastic approximation: a longer step where too much was accepted.

    `log eps + gain (rate - target)` (Robbins and Monro 1951, doi:10.1214/aoms/1177729586; for
    adaptive MCMC Andrieu and Thoms 2008, doi:10.1007/s11222-008-9110-y). The gain is constant: the
    step size follows a target that changes, and goes on fluctuating.

    Parameters
    ----------
    log_step_size
        Logarithm of the step size, or of any scale of the moves.
    acceptance_rate
        Of the last steps.
    target_acceptance_rate
        The rate to approach.
    gain
        Change of the log step size for each unit of the acceptance rate.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(follow_acceptance(jnp.zeros(()), jnp.array(0.75), 0.5, gain=2.0))
    0.5
    """
    return log_step_size + gain * (acceptance_rate - target_acceptance_rate)

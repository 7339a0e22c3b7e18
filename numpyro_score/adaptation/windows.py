"""The schedule of warmup: an opening, windows of doubling length, and a close.

All lengths are traced numbers, so that a warmup of another length does not compile again.
"""

import jax.numpy as jnp
from jaxtyping import Array, Int

from numpyro_score.adaptation.metric import Estimator

OPENING = 0.2
"""Fraction of the warmup in which every chain has its own step size."""
CLOSE = 0.2
"""Fraction of the warmup at its end that adapts only the step size."""
CHECK = 0.12
"""Fraction of the warmup at its end, within the close, that corrects the step size it has found."""
FIRST_OPENING_WINDOW = 5
"""Steps of the first window of the opening, if there are enough chains."""
FIRST_WINDOW = 10
"""Steps of the first window after the opening, if there are enough chains."""


def fraction(share: float, num_warmup: Int[Array, ""]) -> Int[Array, ""]:
    """A share of the warmup in whole steps."""
    return jnp.round(share * num_warmup).astype(jnp.int32)


def close_start(num_warmup: Int[Array, ""]) -> Int[Array, ""]:
    """Step at which the close begins."""
    return num_warmup - fraction(CLOSE, num_warmup)


def check_start(num_warmup: Int[Array, ""]) -> Int[Array, ""]:
    """Step at which the check of the step size begins."""
    return num_warmup - fraction(CHECK, num_warmup)


def absorb(end: Int[Array, ""], length: Int[Array, ""], boundary: Int[Array, ""]) -> Int[Array, ""]:
    """End of a window; the last one of a phase extends to its boundary."""
    return jnp.where(end + 2 * length > boundary, boundary, end)


def first_windows(estimator: Estimator, num_chains: int, dim: int) -> tuple[int, int]:
    """Steps of the first window of the opening, and of the first one after it."""
    needed = -(-estimator.first_window_draws(dim) // num_chains)
    return max(FIRST_OPENING_WINDOW, needed), max(FIRST_WINDOW, needed)


def next_window(
    window_end: Int[Array, ""],
    window_length: Int[Array, ""],
    num_warmup: Int[Array, ""],
    first_window: int,
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """End and length of the window after the one that ends now; -1 if there is none.

    Parameters
    ----------
    window_end, window_length
        End and nominal length of the window that ends now.
    num_warmup
        Steps of the warmup.
    first_window
        Length of the first window after the opening.
    """
    opening_end = fraction(OPENING, num_warmup)
    end_of_windows = close_start(num_warmup)
    is_in_opening = window_end < opening_end
    length = jnp.where(window_end == opening_end, first_window, 2 * window_length)
    boundary = jnp.where(is_in_opening, opening_end, end_of_windows)
    end = window_end + length
    end = absorb(end, length, boundary)
    return jnp.where(window_end >= end_of_windows, -1, end), length

"""Which kernel runs where a model or a log density is given in place of one.

The rule, by the number of coordinates `d`:

* one coordinate: `MALA`, since trajectories need a direction;
* two or more: `MAMS`, whose warmup learns from all chains how long trajectories are worth their
  gradients: one step where the preconditioner makes the posterior round, dozens where it does not;
* the preconditioner is a matrix where `d` is at most `MAX_DENSE`, and a diagonal above, where a
  matrix would be learned from too few draws.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
from numpyro.infer.mcmc import MCMCKernel

MAX_DENSE = 100
"""Coordinates up to which the preconditioner is a matrix."""
NUM_WARMUP = 300
"""Steps of warmup of a kernel that was chosen here."""
MAX_SAMPLES = 4_000
"""Draws of each chain at which a run ends that does not reach what it is to reach."""


class Choice(NamedTuple):
    """A kernel, and why it.

    Attributes
    ----------
    kernel
        What runs.
    reason
        The rule that chose it, in words; None for a kernel that was given.
    """

    kernel: MCMCKernel
    reason: str | None


def choose(
    given: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], init_params: Any
) -> Choice:
    """The kernel that was given, or the recommended one of a model or a log density.

    Parameters
    ----------
    given
        A kernel; or a NumPyro model; or a log density, which is told from a model by
        `init_params`: called with one of these positions it returns one number.
    args, kwargs
        What a model is called with.
    init_params
        Starting points with a leading chain axis, or None.

    Raises
    ------
    TypeError
        If `given` is none of them.
    ValueError
        If the model has no continuous latent sites.
    """
    if isinstance(given, MCMCKernel):
        return Choice(given, None)
    if isinstance(given, type) or not callable(given):
        raise TypeError(
            f"kernel is {given!r}, but must be a NumPyro kernel such as MALA(model), a NumPyro "
            "model, or a log density (with init_params)."
        )
    if init_params is not None and not args and not kwargs:
        first = jax.tree.map(lambda x: x[0], init_params)
        if _is_number(given, first):
            return _for({"logdensity_fn": given}, ravel_pytree(first)[0].size)
    return _for({"model": given}, _dimension(given, args, kwargs))


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

    position = jax.eval_shape(start, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(position))


def _for(target: Mapping[str, Any], dim: int) -> Choice:
    from numpyro_score.infer import MALA, MAMS

    if dim < 2:
        return Choice(MALA(**target), "MALA: one coordinate")
    if dim <= MAX_DENSE:
        reason = f"MAMS, dense: {dim} coordinates, at most {MAX_DENSE}"
        return Choice(MAMS(**target, dense_mass=True), reason)
    reason = f"MAMS, diagonal: {dim} coordinates, more than {MAX_DENSE}"
    return Choice(MAMS(**target), reason)

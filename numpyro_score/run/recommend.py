"""The kernel that `sample` chooses for a model or a log density.

The rule, by the number of coordinates `d`:

* `d = 1`: `MALA`, since `MAMS` needs two coordinates;
* `d >= 2`: `MAMS`, whose warmup learns the trajectory length from all chains: one step if the
  preconditioned posterior is nearly isotropic, dozens if it is not;
* the preconditioner is dense up to `d = MAX_DENSE`, and diagonal above, where there are too few
  draws to estimate a matrix.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.model_arguments import calling

MAX_DENSE = 100
"""Largest number of coordinates with a dense preconditioner."""
NUM_WARMUP = 300
"""Default number of warmup steps of a kernel that was chosen here."""
MAX_SAMPLES = 4_000
"""Draws of each chain after which a run with `until` ends in any case."""


class Choice(NamedTuple):
    """A kernel, and the reason for it.

    Attributes
    ----------
    kernel
        The kernel to run.
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
        A kernel, a NumPyro model or a log density. A callable is a log density if it returns one
        number when it is called with one of the positions in `init_params`.
    args, kwargs
        Arguments of a model.
    init_params
        Starting points with a leading chain axis, or None.

    Raises
    ------
    TypeError
        If `given` is none of these.
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

    with calling(model, args, kwargs):
        position = jax.eval_shape(start, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(position))


def _for(target: Mapping[str, Any], dim: int) -> Choice:
    from numpyro_score.infer import MALA, MAMS

    if dim < 2:
        return Choice(MALA(**target), "MALA: one coordinate")
    if dim <= MAX_DENSE:
        return Choice(MAMS(**target, dense_mass=True), _reason("dense", dim))
    return Choice(MAMS(**target), _reason("diagonal", dim))


def _reason(kind: str, dim: int) -> str:
    return f"MAMS with a {kind} preconditioner: {dim} coordinates (dense up to {MAX_DENSE})"

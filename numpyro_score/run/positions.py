"""Unconstrained positions of the draws of a run, and the log densities there."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from numpyro_score.compilation import ONCE
from numpyro_score.infer.numpyro_kernel import NumPyroKernel

if TYPE_CHECKING:
    from numpyro_score.run.plan import Plan


class Positions(NamedTuple):
    """Flat positions, on the host and in double precision.

    Attributes
    ----------
    points
        Shape `(chain, draw, dim)`.
    logdensity
        Shape `(chain, draw)`.
    """

    points: Float[np.ndarray, "chain draw dim"]
    logdensity: Float[np.ndarray, "chain draw"]


FindPositions = Callable[[Any, int], Positions]
"""Of draws `(chain, draw, ...)`, and of how many of them a chain, to positions."""


def finder(plan: "Plan", state: Any) -> FindPositions | None:
    """What finds the positions of a run's draws.

    Parameters
    ----------
    plan
        The run.
    state
        A state of all its chains.

    Returns
    -------
    Function of the draws, which are the model's sites, or positions where there is no model; the
    draws that it takes of each chain are evenly spaced. It is compiled once for every number of
    them. None for NumPyro's own kernels, and where there is no density.
    """
    kernel, args, kwargs = plan.kernel, plan.constants.args, plan.constants.kwargs
    if not isinstance(kernel, NumPyroKernel):
        return None
    model, logdensity_fn = kernel.model, kernel.logdensity_fn(args, kwargs)
    if logdensity_fn is None:
        return None

    def at(draw: Any) -> tuple[Any, Any]:
        if model is not None:
            # what looks at models is imported when there is one
            from numpyro_score.targets.numpyro_model import unconstrain

            draw = unconstrain(model, args, kwargs, draw)
        return ravel_pytree(draw)[0], logdensity_fn(draw)

    every = jax.jit(jax.vmap(jax.vmap(at)), compiler_options=ONCE)

    def find(samples: Any, num_draws: int) -> Positions:
        given = samples if model is None else {name: samples[name] for name in state.z}
        made = jax.tree.leaves(given)[0].shape[1]
        chosen = np.linspace(0, made - 1, min(num_draws, made)).round().astype(int)
        found = every(jax.tree.map(lambda x: np.asarray(x)[:, chosen], given))
        return Positions(*(np.asarray(x, np.float64) for x in found))

    return find

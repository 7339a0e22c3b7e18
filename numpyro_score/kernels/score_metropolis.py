"""Langevin steps accepted by a score alone: **approximate**, for targets without a density.

Where only the score `s = grad log p` is known, the log ratio of two densities is its line integral,

    log p(y) - log p(x) = int_0^1 s(x + r (y - x)) . (y - x) dr,

by Gauss-Legendre quadrature (Sjoberg, Lindqvist and Schon 2023, arXiv:2307.10179, for learned
scores). For a conservative field, the gradient of something, the chain is that of MALA up to the
quadrature's error, which falls off as `|y - x|^(2 nodes + 1)`. A network trained as a score is not
a gradient: the integral then depends on the path, no density exists for which the chain could be
exact, and its distribution differs from that of the score's diffusion by an amount that cannot be
measured from the chain. Measured on the field `(w x_2 - x_1, -x_2)`: at w = 1 the diffusion has
variances 1.5 and 1, the chain 1.51 and .98 at step size .1, 1.60 and .92 at .5; at w = .2 they
agree to .005. An `EnergyNet` is a gradient by construction, has a density, and takes the exact
kernels.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.kernels import langevin
from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind
from numpyro_score.kernels.langevin import LangevinState, langevin_step
from numpyro_score.preconditioner import InverseMassMatrix
from numpyro_score.types import LogDensityFn, Position, RngKey, Scalar, ScoreFn

if TYPE_CHECKING:
    import blackjax

NUM_NODES = 4
"""Default evaluations of the score along a move."""


def line_integral(
    score_fn: ScoreFn, start: Position, end: Position, num_nodes: int = NUM_NODES
) -> Float[Array, ""]:
    """Integral of a field along the straight line between two positions.

    Exact for fields that are polynomials of degree below `2 num_nodes` along the line.

    Parameters
    ----------
    score_fn
        Position -> vector field, a pytree like the position.
    start, end
        Two positions.
    num_nodes
        Evaluations.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(line_integral(lambda x: -x, jnp.zeros(2), jnp.ones(2)))  # of -|x|^2 / 2
    -1.0
    """
    x, unravel = ravel_pytree(start)
    move = ravel_pytree(end)[0] - x
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)

    def along(share: Scalar) -> Float[Array, ""]:
        return ravel_pytree(score_fn(unravel(x + share * move)))[0] @ move

    return jnp.asarray(weights / 2, x.dtype) @ jax.vmap(along)(
        jnp.asarray((nodes + 1) / 2, x.dtype)
    )


class ScoreMetropolisInfo(NamedTuple):
    """What happened in one step.

    Attributes
    ----------
    acceptance_rate, is_accepted, is_divergent
        As in `MetropolisInfo`.
    num_integration_steps
        Evaluations of the score: the nodes of the quadrature, and the end of the move.
    """

    acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]
    num_integration_steps: Int[Array, ""]


def init(
    position: Position, logdensity_fn: LogDensityFn | None, score_fn: ScoreFn
) -> LangevinState:
    """State of a chain that starts at `position`, whose log density counts from there.

    Raises
    ------
    ValueError, TypeError
        If the position holds integers, or the score has another shape.
    """
    del logdensity_fn
    state = langevin.init(position, None, score_fn)
    return state._replace(logdensity=jnp.zeros_like(state.logdensity))


def build_kernel() -> Callable[..., tuple[LangevinState, ScoreMetropolisInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, ..., score_fn=)`."""

    def kernel(
        rng_key: RngKey,
        state: LangevinState,
        logdensity_fn: LogDensityFn | None,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        *,
        score_fn: ScoreFn,
        num_nodes: int = NUM_NODES,
    ) -> tuple[LangevinState, ScoreMetropolisInfo]:
        del logdensity_fn

        def logdensity(position: Position) -> Float[Array, ""]:
            gain = line_integral(score_fn, state.position, position, num_nodes)
            return state.logdensity + gain

        state, info = langevin_step(
            rng_key,
            state,
            logdensity,
            drift_fn=score_fn,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            temperature=1.0,
            is_adjusted=True,
        )
        return state, ScoreMetropolisInfo(*info, jnp.asarray(num_nodes + 1, jnp.int32))

    return kernel


def check_nodes(num_nodes: int) -> None:
    """Refuse a number of nodes that is not a whole number of at least 1.

    Raises
    ------
    ValueError
        If it is not a whole number of at least 1.
    """
    check_whole("num_nodes", num_nodes, hint="4 is the default")


def as_top_level_api(
    score_fn: ScoreFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    num_nodes: int = NUM_NODES,
) -> "blackjax.SamplingAlgorithm":
    """Langevin steps, accepted by the line integral of a score: **approximate**.

    Exact up to the quadrature's error for the gradient of a log density; biased by an unknown
    amount for a field that is not a gradient, such as most trained scores. The state's log density
    is relative to that of the chain's start.

    Parameters
    ----------
    score_fn
        Position -> gradient of the log density, at one noise level if it is a score of several.
    step_size
        `eps > 0`, units of time, as for `mala`.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity.
    num_nodes
        Evaluations of the score along a move, at least 1; one more is made at its end.

    Raises
    ------
    ValueError
        If the step size is not above 0, `num_nodes` is below 1, or `P` is not a valid inverse mass
        matrix.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = score_metropolis(lambda x: -x, step_size=0.5)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> bool(info.acceptance_rate > 0.5)
    True
    """
    check_nodes(num_nodes)
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "score_fn": score_fn,
        "num_nodes": num_nodes,
    }
    return bind(build_kernel(), init, None, parameters)


score_metropolis = MarkovKernel(as_top_level_api, init, build_kernel)

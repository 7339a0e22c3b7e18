"""Any BlackJAX algorithm in whitened coordinates: a full or low-rank `P` for kernels without one.

With `x = m + L y`, `L L^T = P`, the log density of `y` is `log p(m + L y)` up to a constant, and an
algorithm that steps in `y` is the same algorithm with a preconditioner (Neal 2011, arXiv:1206.1901,
section 4.1). Nothing of it is copied: the change of coordinates is around its log density.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.compilation import load_blackjax
from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.base import check_position
from numpyro_score.preconditioner import (
    InverseMassMatrix,
    as_preconditioner,
    check_inverse_mass_matrix,
    scale,
)
from numpyro_score.types import LogDensityFn, Position, RngKey

if TYPE_CHECKING:
    import blackjax
    from blackjax.mcmc.metrics import LowRankInverseMassMatrix

METRICS = ("inverse_mass_matrix", "momentum_inverse_scale")
"""Arguments of BlackJAX's algorithms that are the identity in whitened coordinates."""


class WhitenedState(NamedTuple):
    """State of an algorithm that runs in whitened coordinates.

    Attributes
    ----------
    position
        In the coordinates of the target.
    whitened
        State of the algorithm, in whitened coordinates.
    """

    position: Position
    whitened: Any

    @property
    def logdensity(self) -> Any:
        """Log density of the target at the position."""
        return self.whitened.logdensity


def whitened(
    algorithm: "KernelApi | Callable[..., blackjax.SamplingAlgorithm]",
    inverse_mass_matrix: "InverseMassMatrix | LowRankInverseMassMatrix",
    center: Position | None = None,
) -> "Callable[..., blackjax.SamplingAlgorithm]":
    """The algorithm in the coordinates `y = L^-1 (x - m)`, with `L L^T = P`.

    Parameters
    ----------
    algorithm
        `blackjax.nuts`, `blackjax.mclmc`, `blackjax.ghmc`, `numpyro_score.mala`, ...: any that is
        called with a log density and parameters, and returns a `blackjax.SamplingAlgorithm`.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)` over the raveled position, a `Preconditioner`, or a
        `blackjax.mcmc.metrics.LowRankInverseMassMatrix`, such as `fisher_low_rank` of
        `numpyro_score.adaptation.low_rank` finds.
    center
        `m`, a position; 0 by default. Only algorithms that know an origin depend on it.

    Returns
    -------
    `(logdensity_fn, **parameters) -> blackjax.SamplingAlgorithm`, whose states are
    `WhitenedState`. Parameters are those of the algorithm, in whitened coordinates; where it needs
    a metric and is given none, it is the identity. Infos are the algorithm's own: positions,
    momenta and gradients in them are whitened.

    Raises
    ------
    TypeError
        The algorithm cannot be called, or the position holds integers.
    ValueError
        `P` has a wrong shape or is not positive definite, or `center` another size than the
        position.

    Examples
    --------
    >>> import blackjax, jax, jax.numpy as jnp
    >>> P = jnp.array([[2.0, 1.9], [1.9, 2.0]])
    >>> precision = jnp.linalg.inv(P)
    >>> nuts = whitened(blackjax.nuts, P)(lambda x: -0.5 * x @ precision @ x, step_size=0.9)
    >>> state, info = nuts.step(jax.random.key(0), nuts.init(jnp.zeros(2)))
    >>> state.position.shape, int(info.num_integration_steps) <= 7
    ((2,), True)
    """
    if not callable(algorithm):
        raise TypeError(
            f"algorithm is {algorithm!r}, but must be called with a log density, as blackjax.nuts "
            "is; give the algorithm itself, not what it returns."
        )
    shift = None if center is None else ravel_pytree(center)[0]
    to_position, to_whitened, check = _maps(inverse_mass_matrix)

    def build(
        logdensity_fn: LogDensityFn, *args: Any, **parameters: Any
    ) -> "blackjax.SamplingAlgorithm":
        from blackjax import SamplingAlgorithm

        def bound(template: Position) -> tuple[Any, Callable[[Array], Position]]:
            """The algorithm for positions like the template, and its way back to them."""
            flat, unravel = ravel_pytree(template)

            def position(y: Float[Array, " dim"]) -> Position:
                x = to_position(y)
                return unravel(x if shift is None else x + shift)

            missing = _missing(algorithm, args, parameters)
            ones = {name: jnp.ones(flat.size, flat.dtype) for name in missing}
            own = algorithm(lambda y: logdensity_fn(position(y)), *args, **ones, **parameters)
            return own, position

        def init(position: Position, rng_key: RngKey | None = None) -> WhitenedState:
            check_position(position)
            x = ravel_pytree(position)[0]
            check(x.size)
            if shift is not None and shift.shape != x.shape:
                raise ValueError(
                    f"center has {shift.size} coordinates but the position {x.size}; give a "
                    "position of the same form."
                )
            y = to_whitened(x if shift is None else x - shift)
            return WhitenedState(position, bound(position)[0].init(y, rng_key))

        def step(rng_key: RngKey, state: WhitenedState) -> tuple[WhitenedState, Any]:
            own, position = bound(state.position)
            new, info = own.step(rng_key, state.whitened)
            return WhitenedState(position(new.position), new), info

        return SamplingAlgorithm(init, step)

    return build


def _missing(algorithm: Any, args: tuple[Any, ...], parameters: dict[str, Any]) -> list[str]:
    """Metrics that the algorithm needs, has no default for, and is not given."""
    signature = inspect.signature(getattr(algorithm, "differentiable", algorithm))
    given = signature.bind_partial(None, *args, **parameters).arguments
    return [
        name
        for name in METRICS
        if name in signature.parameters
        and signature.parameters[name].default is inspect.Parameter.empty
        and name not in given
    ]


def _maps(matrix: Any) -> tuple[Callable[..., Array], Callable[..., Array], Callable[[int], None]]:
    """`L y`, `L^-1 x`, and the check of the number of coordinates."""
    load_blackjax()
    from blackjax.mcmc.metrics import LowRankInverseMassMatrix

    if isinstance(matrix, LowRankInverseMassMatrix):
        check_inverse_mass_matrix(matrix.sigma, dim=None)
        check_inverse_mass_matrix(matrix.lam, dim=None)
        root = jnp.sqrt(matrix.lam)

        def stretch(vector: Array, by: Array) -> Array:
            # U has orthonormal columns: (I + U (S - I) U^T) v
            return vector + matrix.U @ ((by - 1) * (matrix.U.T @ vector))

        return (
            lambda y: matrix.sigma * stretch(y, root),
            lambda x: stretch(x / matrix.sigma, 1 / root),
            lambda dim: check_inverse_mass_matrix(matrix.sigma, dim),
        )
    check_inverse_mass_matrix(matrix, dim=None)
    preconditioner = as_preconditioner(matrix)

    def whiten(x: Array) -> Array:
        if preconditioner is None:
            return x
        factor = preconditioner.factor.astype(x.dtype)
        return x / factor if factor.ndim < 2 else jnp.linalg.solve(factor, x)

    return (
        lambda y: scale(preconditioner, y),
        whiten,
        lambda dim: check_inverse_mass_matrix(preconditioner, dim),
    )

"""The preconditioner `P` of a proposal: the inverse mass matrix and its square root.

`P` is a vector (diagonal) or a matrix (dense) over the coordinates of the raveled position. A
kernel needs `P^(1/2) v` and `P^(1/2)^T v` at every step, so the root is computed once and stored
with the matrix.
"""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float


class Preconditioner(NamedTuple):
    """An inverse mass matrix and its square root.

    Attributes
    ----------
    inverse_mass_matrix
        `P`, shape `(dim,)` for a diagonal one and `(dim, dim)` for a dense one; units of the
        position squared.
    factor
        `L` with `L L^T = P`: elementwise root `(dim,)`, or lower triangular `(dim, dim)`.
    """

    inverse_mass_matrix: Float[Array, " dim"] | Float[Array, "dim dim"]
    factor: Float[Array, " dim"] | Float[Array, "dim dim"]


InverseMassMatrix: TypeAlias = ArrayLike | list[float] | list[list[float]] | Preconditioner | None
"""What a kernel accepts as `inverse_mass_matrix`; None is the identity."""


def as_preconditioner(inverse_mass_matrix: InverseMassMatrix) -> Preconditioner | None:
    """Factor an inverse mass matrix; one that is already factored is returned unchanged.

    Parameters
    ----------
    inverse_mass_matrix
        Shape `(dim,)` or `(dim, dim)`, a `Preconditioner`, or None for the identity.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> as_preconditioner(jnp.array([4.0, 9.0])).factor.tolist()
    [2.0, 3.0]
    """
    if inverse_mass_matrix is None or isinstance(inverse_mass_matrix, Preconditioner):
        return inverse_mass_matrix
    matrix = jnp.asarray(inverse_mass_matrix)
    factor = jnp.sqrt(matrix) if matrix.ndim < 2 else jnp.linalg.cholesky(matrix)
    return Preconditioner(matrix, factor)


def scale(preconditioner: Preconditioner | None, vector: Array) -> Array:
    """`P^(1/2) v`: noise `(dim,)` of covariance `P` from white noise."""
    if preconditioner is None:
        return vector
    factor = preconditioner.factor.astype(vector.dtype)
    return factor * vector if factor.ndim < 2 else factor @ vector


def scale_transpose(preconditioner: Preconditioner | None, vector: Array) -> Array:
    """`P^(1/2)^T v`: the gradient `(dim,)` in whitened coordinates."""
    if preconditioner is None:
        return vector
    factor = preconditioner.factor.astype(vector.dtype)
    return factor * vector if factor.ndim < 2 else factor.T @ vector


def check_inverse_mass_matrix(inverse_mass_matrix: InverseMassMatrix, dim: int | None) -> None:
    """Check that an inverse mass matrix is a covariance of `dim` coordinates.

    The shape is checked always, the values only outside of JAX transformations.

    Parameters
    ----------
    inverse_mass_matrix
        The user's argument.
    dim
        Number of coordinates of the raveled position, or None if it is not known yet.

    Raises
    ------
    ValueError
        The shape is not `(dim,)` or `(dim, dim)`, or the matrix is not positive definite.
    """
    if inverse_mass_matrix is None:
        return
    if isinstance(inverse_mass_matrix, Preconditioner):
        inverse_mass_matrix = inverse_mass_matrix.inverse_mass_matrix
    shape = np.shape(inverse_mass_matrix)  # NumPy, since JAX does not accept lists
    square = len(shape) == 2 and shape[0] == shape[1]
    if len(shape) not in (0, 1) and not square:
        raise ValueError(
            f"inverse_mass_matrix has shape {shape}; give a vector (dim,) for a diagonal one "
            "or a square matrix (dim, dim) for a dense one."
        )
    if dim is not None and shape and shape[0] != dim:
        raise ValueError(
            f"inverse_mass_matrix has shape {shape} but the position has {dim} coordinates; "
            f"give shape ({dim},) or ({dim}, {dim}), in the order of "
            "jax.flatten_util.ravel_pytree."
        )
    if isinstance(inverse_mass_matrix, jax.core.Tracer):
        return
    matrix = np.asarray(inverse_mass_matrix, dtype=float)
    if not np.isfinite(matrix).all():
        raise ValueError(
            "inverse_mass_matrix must have finite entries, but holds NaN or infinity; give the "
            "variances of the coordinates, or their covariance matrix."
        )
    if square:
        # symmetric up to the precision of the given values, which may be float32
        is_symmetric = np.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6 * np.abs(matrix).max())
        smallest = np.linalg.eigvalsh(0.5 * (matrix + matrix.T)).min() if is_symmetric else np.nan
        if not smallest > 0:
            found = (
                f"its smallest eigenvalue is {smallest:.3g}" if is_symmetric else "not symmetric"
            )
            raise ValueError(
                f"inverse_mass_matrix must be symmetric and positive definite, but {found}; "
                "add a small multiple of the identity, or give a diagonal (dim,) vector."
            )
    elif not (matrix > 0).all():
        raise ValueError(
            "a diagonal inverse_mass_matrix must have entries above 0, but its smallest "
            f"is {matrix.min():.3g}; give the variances of the coordinates."
        )

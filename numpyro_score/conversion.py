"""NumPy arrays of 64 bits that were changed in place after JAX had converted them.

In single precision JAX converts such an array once, and keeps the result for as long as anything
that it has traced holds it. A program that is traced after the array was changed in place would
have the old numbers.
"""

import gc
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def drop_old_conversions(array: np.ndarray) -> None:
    """Make JAX convert an array anew if it was changed in place.

    Everything that JAX has compiled is dropped then, and compiled again when it is next used.

    Parameters
    ----------
    array
        Numbers of any type.

    Warns
    -----
    UserWarning
        If the old numbers are kept all the same.

    Examples
    --------
    >>> y = np.zeros(2)
    >>> earlier = jax.jit(lambda x: x + y)
    >>> earlier(1.0).tolist()
    [1.0, 1.0]
    >>> y[:] = 5.0
    >>> drop_old_conversions(y)
    >>> jax.jit(lambda x: x + y)(1.0).tolist()
    [6.0, 6.0]
    """
    if not _is_old(array):
        return
    jax.clear_caches()
    # what was traced may hold itself
    gc.collect()
    if _is_old(array):
        warnings.warn(
            f"an array {array.dtype}{list(array.shape)} was changed in place, and JAX still has "
            "its old numbers; give a copy of it, y.copy()",
            stacklevel=2,
        )


def _is_old(array: np.ndarray) -> bool:
    """Whether a function that is traced now would have other numbers than the array."""
    # JAX refuses masks
    if array.dtype.kind not in "iufc" or isinstance(array, np.ma.MaskedArray):
        return False
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if dtype == array.dtype:
        return False
    # numbers too large for single precision are no concern here
    with np.errstate(over="ignore"):
        traced = jax.make_jaxpr(lambda x: jnp.add(x, array))(jax.ShapeDtypeStruct((), dtype))
        literals = [getattr(x, "val", None) for step in traced.eqns for x in step.invars]
        return any(not _is_same(array, found) for found in (*traced.consts, *literals))


def _is_same(array: np.ndarray, found: Any) -> bool:
    if np.shape(found) != array.shape or not hasattr(found, "dtype"):
        return True
    return np.array_equal(array.astype(found.dtype), found, equal_nan=array.dtype.kind in "fc")

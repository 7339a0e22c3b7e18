"""What a model can be fitted to, made into arrays: draws in any of the forms that hold them.

Several variables become one vector a draw, in their order. A single one keeps its shape.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from numpyro.infer import MCMC

from numpyro_score.groups import SAMPLE_DIMS, read_group
from numpyro_score.scores.standardisation import check_resolution


class Points(NamedTuple):
    """Data of a fit.

    Attributes
    ----------
    arrays
        Points `(num, *event)`, or a pair of them and of conditions with the same leading axis:
        NumPy arrays.
    variables
        Names and shapes of what the points were joined from, such as `("mu", "theta (8,)")`;
        empty for plain arrays.
    """

    arrays: Any
    variables: tuple[str, ...]

    @property
    def num(self) -> int:
        """How many there are."""
        return len(jax.tree.leaves(self.arrays)[0])


def _real(values: Any, what: str, dtype: Any) -> Float[np.ndarray, "..."]:
    """Finite values of a float type, by default the one that JAX gives them.

    Raises
    ------
    ValueError
        If they are not real, not finite, or differ by less than the float type resolves.
    """
    array = np.asarray(values)
    if array.dtype.kind == "V" and jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(np.float32)  # bfloat16 and its kin
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{what} have type {array.dtype}; real numbers are needed")
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{what} have shape {array.shape}: there is no point to fit to")
    kept = array.dtype if array.dtype.kind == "f" else np.dtype(float)
    dtype = jax.dtypes.canonicalize_dtype(kept) if dtype is None else np.dtype(dtype)
    given = array
    with np.errstate(over="ignore"):  # what is too large is found below
        array = array.astype(dtype)
    num_bad = int(np.sum(~np.isfinite(array).reshape(len(array), -1).all(axis=1)))
    if num_bad:
        raise ValueError(
            f"{num_bad} of {len(array)} points of {what} are not finite; leave them out, for "
            "example by data[np.isfinite(data).all(axis=1)]"
        )
    if dtype.itemsize < given.dtype.itemsize:
        try:
            check_resolution(given.mean(axis=0), given.std(axis=0), dtype)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
    return array


def _joined(draws: Mapping[str, Any], dtype: Any) -> Points:
    """One array from draws `(num, ...)` by name."""
    if not draws:
        raise ValueError("there are no variables among the draws")
    discrete = [name for name, values in draws.items() if np.asarray(values).dtype.kind not in "f"]
    if discrete:
        raise ValueError(
            f"the variables {', '.join(discrete)} hold no real numbers, and a score is a gradient; "
            "give the others: {name: draws[name] for name in ...}"
        )
    arrays = {name: _real(values, f"draws of {name}", dtype) for name, values in draws.items()}
    nums = {name: len(array) for name, array in arrays.items()}
    if len(set(nums.values())) > 1:
        raise ValueError(f"variables have different numbers of draws: {nums}")
    shapes = [array.shape[1:] for array in arrays.values()]
    names = [
        f"{name} {shape}" if shape else name for name, shape in zip(arrays, shapes, strict=True)
    ]
    if len(arrays) == 1 and shapes[0]:
        return Points(next(iter(arrays.values())), tuple(names))
    flat = [array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays.values()]
    return Points(np.concatenate(flat, axis=1), tuple(names))


def _check_lengths(draws: Mapping[str, Float[np.ndarray, "chain draw ..."]]) -> None:
    """Refuse chains of unequal length, whose ends are filled up with NaN.

    Raises
    ------
    ValueError
        If in some chain, and not in all, the last draws of every variable are NaN.
    """
    missing = [np.isnan(x).reshape(*x.shape[:2], -1).any(axis=2) for x in draws.values() if x.size]
    if not missing:
        return
    is_missing = np.logical_and.reduce(missing)
    lengths = is_missing.shape[1] - np.cumprod(is_missing[:, ::-1], axis=1).sum(axis=1)
    if len(set(lengths.tolist())) == 1:
        return
    shortest = int(np.argmin(lengths))
    raise ValueError(
        f"chains have unequal lengths, filled up with NaN: chain {shortest} ends after "
        f"{lengths[shortest]} of {is_missing.shape[1]} draws; cut all to one length, "
        f"draws.isel(draw=slice({lengths[shortest]})), or leave chain {shortest} out"
    )


def _from_dataset(data: xr.Dataset, dtype: Any) -> Points:
    missing = [dim for dim in SAMPLE_DIMS if dim not in data.dims]
    if missing:
        raise ValueError(
            f"the draws have no dimension {' and '.join(missing)} (dimensions: "
            f"{', '.join(map(str, data.dims))}); give them as ArviZ writes them"
        )
    stacked = {}
    for name, values in data.data_vars.items():
        if not set(SAMPLE_DIMS) <= set(values.dims):
            continue
        stacked[str(name)] = values.transpose(*SAMPLE_DIMS, ...).values
    _check_lengths({name: x for name, x in stacked.items() if x.dtype.kind == "f"})
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in stacked.items()}
    return _joined(flat, dtype)


def _from_mcmc(mcmc: MCMC, dtype: Any) -> Points:
    state = mcmc.last_state
    if state is None:
        raise ValueError("the MCMC has not run and holds no draws; call its run method first")
    draws = mcmc.get_samples()
    if not isinstance(draws, Mapping):
        leaves = {f"x{i}": leaf for i, leaf in enumerate(jax.tree.leaves(draws))}
        return _joined(leaves, dtype)
    latent = getattr(state, mcmc.sampler.sample_field, draws)
    if isinstance(latent, Mapping):
        # deterministic sites follow from the others, and together they have no density
        draws = {name: values for name, values in draws.items() if name in latent} or draws
    return _joined(draws, dtype)


def as_points(data: Any, dtype: Any = None) -> Points:
    """Data in any form as arrays.

    Parameters
    ----------
    data
        An array `(num, *event)`; a pair `(points, conditions)` of such; a dict of draws
        `(num, ...)` by name; a Dataset or the `posterior` of a DataTree (groups inside of it
        included), with dimensions chain and draw; or a fitted `numpyro.infer.MCMC`, whose
        deterministic sites are left out.
    dtype
        Float type of the arrays; by default the one that JAX gives them.

    Raises
    ------
    ValueError
        If there are none, they are not finite or not real, their numbers differ, chains have
        unequal lengths, or the float type does not resolve the spread of a variable at its
        location.
    TypeError
        If data are of no such form.

    Examples
    --------
    >>> import numpy as np
    >>> points = as_points({"mu": np.zeros(100), "theta": np.zeros((100, 8))})
    >>> points.arrays.shape, points.variables
    ((100, 9), ('mu', 'theta (8,)'))
    """
    if isinstance(data, MCMC):
        return _from_mcmc(data, dtype)
    if isinstance(data, xr.DataTree):
        if "posterior" not in data.children:
            groups = ", ".join(data.children) or "none"
            raise ValueError(f"the DataTree has no group 'posterior' (groups here: {groups})")
        return _from_dataset(read_group(data, "posterior"), dtype)
    if isinstance(data, xr.Dataset):
        return _from_dataset(data, dtype)
    if isinstance(data, Mapping):
        return _joined(data, dtype)
    if isinstance(data, tuple | list) and not all(np.isscalar(part) for part in data):
        return _pair(data, dtype)
    if not hasattr(data, "__array__") and not isinstance(data, list):
        raise TypeError(
            f"data are a {type(data).__name__}; give an array (num, *event), a pair of arrays, a "
            "dict of draws, a DataTree with a posterior, or a fitted numpyro MCMC"
        )
    return Points(_real(data, "the data", dtype), ())


def _pair(data: Any, dtype: Any) -> Points:
    if len(data) != 2:
        raise TypeError(
            f"data are a sequence of {len(data)} parts; give one array (np.asarray), or a pair "
            "(points, conditions)"
        )
    points = _real(data[0], "the points", dtype)
    conditions = jax.tree.map(np.asarray, data[1])
    nums = [len(leaf) if leaf.ndim else 0 for leaf in jax.tree.leaves(conditions)]
    if set(nums) != {len(points)}:
        raise ValueError(f"there are {len(points)} points but {nums} conditions")
    return Points((points, conditions), ())

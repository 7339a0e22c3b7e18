from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from jaxtyping import Float
from scipy.signal import lfilter

Values = Float[np.ndarray, "chain draw ..."]


@pytest.fixture(autouse=True, scope="module")
def runs_long(fast_programs: None) -> None:
    """Here programs take longer to run than to compile."""


@pytest.fixture(scope="session")
def tree() -> Callable[..., xr.DataTree]:
    """Draws as a DataTree."""

    def make(**variables: Values) -> xr.DataTree:
        def named(name: str, values: Values) -> tuple[tuple[str, ...], Values]:
            return ("chain", "draw", *(f"{name}_{i}" for i in range(np.ndim(values) - 2))), values

        data = xr.Dataset({name: named(name, values) for name, values in variables.items()})
        places = {dim: np.arange(size) for dim, size in data.sizes.items()}
        return xr.DataTree.from_dict({"posterior": data.assign_coords(places)})

    return make


@pytest.fixture(scope="session")
def ar1() -> Callable[..., Values]:
    """Stationary autoregressive series of unit variance along the last axis."""

    def make(rng: np.random.Generator, coefficient: float, shape: tuple[int, ...]) -> Values:
        noise = rng.normal(size=shape)
        noise[..., 1:] *= np.sqrt(1 - coefficient**2)
        return lfilter([1.0], [1.0, -coefficient], noise, axis=-1)

    return make

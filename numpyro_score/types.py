"""Type aliases of callables and pytrees that are used throughout the package."""

from collections.abc import Callable
from typing import Any, TypeAlias

from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree, UInt32

RngKey: TypeAlias = PRNGKeyArray | Key[Array, ""] | UInt32[Array, "2"]
"""A single JAX random key, typed (`jax.random.key`) or raw (`jax.random.PRNGKey`)."""

Position: TypeAlias = PyTree[Float[Array, "..."]]
"""A point of the sample space: any pytree of real arrays."""

LogDensityFn: TypeAlias = Callable[[Any], Any]
"""Position -> scalar log density, up to an additive constant."""

ScoreFn: TypeAlias = Callable[[Any], Any]
"""Position -> gradient of the log density, a pytree of the position's structure."""

DriftFn: TypeAlias = ScoreFn
"""Position -> vector field that replaces the gradient in a Langevin proposal."""

MapChains: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""One chain's function -> that of a batch of chains: `jax.vmap`, or what computes the same."""

Scalar: TypeAlias = float | Float[Array, ""]
"""One real number, traced or not."""

Time: TypeAlias = float | Float[Array, "..."]
"""Times from 0 (data) to 1 (noise): one, or an array of them for elementwise functions."""

Schedule: TypeAlias = Callable[[Any], Any]
"""Step count (int32 scalar, from 0) -> scalar."""

Temperature: TypeAlias = Scalar | Schedule
"""A fixed temperature or a schedule; temperature T samples `p^(1/T)`."""

"""Codes of data: the interface, and principal components.

A coder maps one point to a short vector, its code, and back. Codes of data have mean 0, sd 1 and no
correlations, so that noise of one sd suits all of them.

Principal components: Hotelling 1933, doi:10.1037/h0071325.
"""

import math
from abc import abstractmethod
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.scores import Constant
from numpyro_score.scores.standardisation import check_data, check_scale
from numpyro_score.types import RngKey

Event = Float[Array, "..."]
Code = Float[Array, " latent"]

SMALLEST_SD = 1e-6
"""Sd of a component, relative to the first, below which the data do not have it."""


class Coder(eqx.Module):
    """The interface of a map from points to codes and back, of one point each.

    Attributes
    ----------
    latent
        Length of a code.
    event_shape
        Shape of a point.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(100, 3))
    >>> isinstance(principal_components(draws, 2), Coder)
    True
    """

    latent: eqx.AbstractVar[int]
    event_shape: eqx.AbstractVar[tuple[int, ...]]

    @abstractmethod
    def encode(self, x: Event) -> Code:
        """The code of one point."""

    @abstractmethod
    def decode(self, z: Code) -> Event:
        """The point of one code."""


def check_point(name: str, x: Any, shape: tuple[int, ...]) -> None:
    """Refuse a point or a code of another shape.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    if jnp.shape(x) != shape:
        raise ValueError(
            f"the {name} has shape {jnp.shape(x)}, but the model was trained on {shape}; give one "
            f"{name} of that shape, and use jax.vmap for many"
        )


@final
class PrincipalComponents(Coder):
    """Principal components, each in units of its sd; made by `principal_components`.

    Parameters
    ----------
    mean
        Mean of the data, `(dim,)`, with the axes of a point joined.
    axes
        Change of a point by one unit of each code, `(latent, dim)`.
    latent, event_shape
        Length of a code, and shape of a point.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(1000, 2)) @ np.array(
    ...     [[3.0, 3.0], [0.1, -0.1]]
    ... )
    >>> coder = principal_components(draws, 1)
    >>> x = jnp.array([1.5, 1.5])
    >>> coder.encode(x).shape, bool(jnp.allclose(coder.decode(coder.encode(x)), x, atol=0.1))
    ((1,), True)
    """

    mean: Constant
    axes: Constant
    latent: int = eqx.field(static=True)
    event_shape: tuple[int, ...] = eqx.field(static=True)

    def encode(self, x: Event) -> Code:
        """The code of one point."""
        check_point("point", x, self.event_shape)
        axes = self.axes.like(x)
        away = x.reshape(-1) - self.mean.like(x)
        return (axes @ away) / jnp.sum(axes**2, axis=1)

    def decode(self, z: Code) -> Event:
        """The point of one code."""
        check_point("code", z, (self.latent,))
        return (self.mean.like(z) + z @ self.axes.like(z)).reshape(self.event_shape)


def check_latent(latent: int, event_shape: tuple[int, ...], num: int) -> None:
    """Refuse a number of latent coordinates that data cannot have.

    Raises
    ------
    ValueError, TypeError
        If it is not a whole number from 1 to the number of coordinates, below that of the points.
    """
    check_whole("latent", latent)
    dim = math.prod(event_shape)
    if latent > dim:
        raise ValueError(
            f"latent is {latent}, but points of shape {event_shape} have {dim} coordinates; give "
            "fewer latent coordinates than that"
        )
    if latent >= num:
        raise ValueError(
            f"latent is {latent}, but there are {num} points; give more points than coordinates"
        )


def principal_components(
    data: Float[Any, "num *event"], latent: int, *, rng_key: RngKey | None = None
) -> PrincipalComponents:
    """The first principal components of data, by scikit-learn.

    Parameters
    ----------
    data
        `(num, *event)`.
    latent
        Their number.
    rng_key
        Not used; coders are made by functions of these arguments.

    Raises
    ------
    ValueError
        If there are more latent than data coordinates, too few points, values that are not finite
        or whose squares overflow or vanish, or fewer directions in which the data vary.

    Examples
    --------
    >>> import numpy as np
    >>> principal_components(np.random.default_rng(0).normal(size=(100, 3, 3)), 4).event_shape
    (3, 3)
    """
    from sklearn.decomposition import PCA

    del rng_key
    points = check_data(data)
    check_latent(latent, points.shape[1:], len(points))
    largest = float(points.std(axis=0).max())
    if largest > 0:
        check_scale(largest, jnp.result_type(float))
    found = PCA(latent, random_state=0).fit(points.reshape(len(points), -1))
    sd = np.sqrt(found.explained_variance_)
    if not sd[-1] > SMALLEST_SD * sd[0]:
        raise ValueError(
            f"the data vary in {int(np.sum(sd > SMALLEST_SD * sd[0]))} directions only, but latent "
            f"is {latent}; give that many"
        )
    dtype = jnp.result_type(float)
    return PrincipalComponents(
        mean=Constant(jnp.asarray(found.mean_, dtype)),
        axes=Constant(jnp.asarray(sd[:, None] * found.components_, dtype)),
        latent=int(latent),
        event_shape=tuple(points.shape[1:]),
    )


@eqx.filter_jit
def encode_many(coder: Coder, x: Float[Array, "num *event"]) -> Float[Array, "num latent"]:
    """The codes of points."""
    return jax.vmap(coder.encode)(x)


@eqx.filter_jit
def decode_many(coder: Coder, z: Float[Array, "num latent"]) -> Float[Array, "num *event"]:
    """The points of codes."""
    return jax.vmap(coder.decode)(z)

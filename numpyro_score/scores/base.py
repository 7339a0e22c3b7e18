"""The interface of scores at every noise level, from networks, formulas or Monte Carlo.

A score model is a callable `model(x, t)` of ONE point and a scalar time: the gradient in `x` of the
log density of the distribution of `x_t = alpha(t) x_0 + sigma(t) z`. It holds its noise process,
and converts its output into denoised points, noise and velocities (see
`numpyro_score.noise.convert`). A conditional model also takes `y`. Use `jax.vmap` for batches.

Song et al. 2021, arXiv:2011.13456; Vincent 2011, doi:10.1162/NECO_a_00142.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from numpyro_score.noise import NoiseProcess, score_to_noise, score_to_velocity
from numpyro_score.types import Scalar

Event = Float[Array, "..."]
Condition = Float[Array, " condition"]


class ScoreModel(eqx.Module):
    """The interface of a score at every noise level; subclasses define `noise` and `__call__`.

    Attributes
    ----------
    noise
        The noise process; the score at time t is that of the distribution of `x_t`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> model = gaussian_score(jnp.zeros(1), jnp.ones(1), VE(sigma_min=0.1, sigma_max=10.0))
    >>> x, t = jnp.array([2.0]), 0.5  # noise of sd 1
    >>> (
    ...     isinstance(model, ScoreModel),
    ...     model(x, t).round(3).tolist(),
    ...     model.denoise(x, t).round(3).tolist(),
    ... )
    (True, [-1.0], [1.0])
    """

    noise: eqx.AbstractVar[NoiseProcess]

    @abstractmethod
    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` (any shape) and time `t`, an array of `x`'s shape."""

    def denoise(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """`E[x_0 | x_t = x]`."""
        return self.noise.denoised(x, t, self(x, t, y))

    def predict_noise(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """`E[z | x_t = x]`, the noise in `x` in units of `sigma`."""
        return score_to_noise(x, self.noise.alpha(t), self.noise.sigma(t), self(x, t, y))

    def predict_velocity(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """`E[alpha z - sigma x_0 | x_t = x]`."""
        return score_to_velocity(x, self.noise.alpha(t), self.noise.sigma(t), self(x, t, y))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one point, or None if the model does not know it."""
        return None

    @property
    def data_moments(self) -> tuple[Event, Event] | None:
        """Mean and sd of each coordinate of the data, or None; samplers start from them.

        Their shapes broadcast to the shape of a point.
        """
        return None


def refuse_condition(model: ScoreModel, y: Condition | None) -> None:
    """Raise an error if a condition is given to a model that takes none.

    Raises
    ------
    ValueError
        If `y` is given.
    """
    if y is not None:
        raise ValueError(
            f"{type(model).__name__} has no condition but got y of shape {jnp.shape(y)}; leave it "
            "out"
        )


class Constant(eqx.Module):
    """An array in a model that training must not change, such as the mean of the data.

    No gradient flows into it. An optimizer with weight decay changes parameters without a gradient
    too, so `trainable` selects the leaves to optimize.

    Parameters
    ----------
    array
        Any array. It is stored in its own precision and used in that of the data.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> trainable({"w": jnp.ones(2), "mean": Constant(jnp.zeros(2))})
    {'mean': False, 'w': True}
    """

    array: Array

    def like(self, x: Array) -> Array:
        """The array in the float type of `x`, without gradient."""
        return jax.lax.stop_gradient(jnp.asarray(self.array, x.dtype))


def trainable(model: PyTree) -> PyTree:
    """Which leaves of a model an optimizer may change: float arrays outside of any `Constant`.

    Parameters
    ----------
    model
        Any pytree; foreign models too.

    Returns
    -------
    A tree prefix of the model with booleans, for `eqx.partition(model, trainable(model))`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> trainable({"w": jnp.ones(2), "mean": Constant(jnp.ones(2)), "name": "net"})
    {'mean': False, 'name': False, 'w': True}
    """

    def is_constant(node: object) -> bool:
        return isinstance(node, Constant)

    def may_change(node: object) -> bool:
        return not is_constant(node) and eqx.is_inexact_array(node)

    return jax.tree.map(may_change, model, is_leaf=is_constant)

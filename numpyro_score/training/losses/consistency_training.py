"""Consistency training: a consistency model from data alone, without a trained score.

The points at two neighbouring levels share their data point and their noise,
`x_n = alpha_n x_0 + sigma_n z`. Given `x_{n+1}` the mean of `x_n` is an Euler step of the exact
flow, so that the minimum tends to the consistency function as levels get closer (Song et al. 2023,
arXiv:2303.01469, theorem 2). Few levels have little variance and a large bias, so that their number
doubles at equal intervals during training. The target is the model itself without gradient, not a
running average (Song and Dhariwal 2023, arXiv:2310.14189).
"""

import math
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.training.losses.base import StatefulLoss
from numpyro_score.training.losses.consistency import (
    HUBER,
    check_consistency,
    check_huber,
    consistency_error,
    draw_pairs,
    noised,
)
from numpyro_score.types import RngKey


@final
class ConsistencyTraining(StatefulLoss):
    """Training of a `ConsistencyModel` on data, conditional ones too; its state counts the steps.

    The value of the loss is not comparable between different numbers of levels: it falls with them
    and so does the noise of the gradient.

    Parameters
    ----------
    num_steps
        Steps of the training, as of `fit`; afterwards the number of levels stays at `most`.
    fewest, most
        Steps N of the grid in the beginning and in the end; it doubles in between.
    huber
        c of the distance for one dimension, in units of the data's sd.

    Raises
    ------
    ValueError, TypeError
        If a number is too small or `most` is less than `fewest`; when called, if the model is not
        a consistency model or does not fit the batch.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import ConsistencyModel, FunctionScore
    >>> noise = VE(0.1, 10.0)
    >>> score = FunctionScore(lambda x, t: -x / noise.variance(t), noise)  # of data at 0
    >>> loss, model, x = ConsistencyTraining(100), ConsistencyModel(score), jnp.zeros((8, 2))
    >>> key = jax.random.key(0)
    >>> error, step = loss.update(model, x, key, loss.init(model, x, key))
    >>> round(float(error), 5), int(step), [int(loss.num_levels(k)) for k in (0, 30, 99)]
    (0.0, 1, [10, 20, 160])
    """

    num_steps: int = eqx.field(static=True)
    fewest: int = eqx.field(static=True, default=10)
    most: int = eqx.field(static=True, default=160)
    huber: float = eqx.field(static=True, default=HUBER)

    def __check_init__(self) -> None:
        check_whole("num_steps", self.num_steps)
        check_whole("fewest", self.fewest, 2)
        check_whole("most", self.most, self.fewest, hint="it is the number of levels in the end")
        check_huber(self.huber)

    def num_levels(self, step: int | Int[Array, ""]) -> Int[Array, ""]:
        """N at a step, counted from 0."""
        num_stages = math.ceil(math.log2(self.most / self.fewest)) + 1
        stage = jnp.minimum(step * num_stages // self.num_steps, num_stages - 1)
        return jnp.minimum(self.fewest * 2**stage, self.most)

    def init(self, model: Any, batch: Any, rng_key: RngKey) -> Int[Array, ""]:
        """No steps."""
        del model, batch, rng_key
        return jnp.zeros((), jnp.int32)

    def update(
        self, model: Any, batch: Any, rng_key: RngKey, state: Int[Array, ""]
    ) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """Loss of a batch `(batch, *event)`, or of a pair of one and of conditions."""
        noise = check_consistency(model)
        pairs = draw_pairs(model, batch, rng_key, self.num_levels(state))

        def target(x0: Array, z: Array, x: Array, upper: Array, lower: Array, *y: Any) -> Array:
            del x, upper, y
            return noised(noise, x0, z, lower)

        return consistency_error(model, pairs, target, self.huber), state + 1

"""Consistency distillation: one call of a network in place of a trained score's whole flow.

The point at the lower of two levels is made of that at the upper one by one Heun step of the
teacher's probability flow (Song et al. 2023, arXiv:2303.01469, algorithm 2). The target is the
model itself without gradient, not a running average (Song and Dhariwal 2023, arXiv:2310.14189).
"""

from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.deterministic import heun_step
from numpyro_score.scores import ScoreModel
from numpyro_score.training.losses.consistency import (
    HUBER,
    check_consistency,
    check_huber,
    consistency_error,
    draw_pairs,
)
from numpyro_score.types import RngKey, Scalar

NUM_LEVELS = 36
"""Default steps of the grid; with 18 draws of mixtures are a sixth less accurate."""


@final
class ConsistencyDistillation(eqx.Module):
    """Distillation of a trained score into a `ConsistencyModel`, conditional ones too.

    Parameters
    ----------
    teacher
        The trained score, with the noise process of the model.
    num_levels
        N, the steps of the grid. The teacher makes one Heun step in each: more are more accurate,
        and take more training.
    huber
        c of the distance for one dimension, in units of the data's sd.

    Raises
    ------
    TypeError
        If the teacher is not a score model; when called, if the model is not a consistency model.
    ValueError
        If a number is too small; when called, if the teacher has another noise process than the
        model, or another shape.

    Examples
    --------
    For data that are one point the flow's paths are straight lines, and nothing is left to learn:

    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import ConsistencyModel, FunctionScore
    >>> noise = VE(0.1, 10.0)
    >>> teacher = FunctionScore(lambda x, t: -x / noise.variance(t), noise)
    >>> loss = ConsistencyDistillation(teacher)
    >>> error = loss(ConsistencyModel(teacher), jnp.zeros((8, 2)), jax.random.key(0))
    >>> round(float(error), 5)
    0.0
    """

    teacher: Any
    num_levels: int = eqx.field(static=True, default=NUM_LEVELS)
    huber: float = eqx.field(static=True, default=HUBER)

    def __check_init__(self) -> None:
        check_whole("num_levels", self.num_levels, 2)
        check_huber(self.huber)
        if not isinstance(self.teacher, ScoreModel):
            raise TypeError(
                f"the teacher is a {type(self.teacher).__name__}; give a trained score model, such "
                "as ScoreNetwork, or FunctionScore(fn, noise) for a function"
            )

    def __call__(self, model: Any, batch: Any, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`, or of a pair of one and of conditions."""
        noise = check_consistency(model)
        check_teacher(self.teacher, noise)
        pairs = draw_pairs(model, batch, rng_key, self.num_levels)

        def target(x0: Array, z: Array, x: Array, upper: Array, lower: Array, *y: Any) -> Array:
            del x0, z

            def score(x: Array, t: Scalar) -> Array:
                return self.teacher(x, t, *y)

            return heun_step(score, noise, x, upper, lower)

        return consistency_error(model, pairs, target, self.huber)


def check_teacher(teacher: Any, noise: NoiseProcess) -> None:
    """Refuse a teacher whose noise process is not the model's.

    Raises
    ------
    ValueError
        If it is another process, or the teacher works in whitened coordinates.
    """
    if hasattr(teacher, "whitening"):
        raise ValueError(
            "the teacher is a WhitenedScore, whose noise is isotropic in whitened coordinates "
            "only; give teacher.standard, or use fit_consistency"
        )
    if not eqx.tree_equal(teacher.noise, noise):
        raise ValueError(
            f"the teacher's noise process is {teacher.noise} and the model's {noise}; both must be "
            "the same: make the model of the teacher, ConsistencyModel(teacher)"
        )

"""Denoising score matching over all noise levels of a process: how diffusion models are trained.

    1/2 E_t E [ lambda(t) |s(x_t, t) + z / sigma(t)|^2 ],    x_t = alpha(t) x_0 + sigma(t) z

(Song et al. 2021, arXiv:2011.13456, equation 7). The distribution of t and the weight lambda can be
chosen (see `levels`).
"""

from typing import Any, final

import equinox as eqx
import jax
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.training.losses.denoising import (
    check_drop_rate,
    denoising_error,
    process_of,
    split_condition,
)
from numpyro_score.training.losses.levels import Levels, LogUniform, Weight, sigma_squared, spread
from numpyro_score.types import RngKey


@final
class ContinuousDenoising(eqx.Module):
    """Denoising at random levels, for a model `s(x, t)` or, on pairs `(x, y)`, `s(x, t, y)`.

    Parameters
    ----------
    noise
        The process; by default the model's own `noise`.
    levels
        Distribution of the noise level: `LogUniform()`, `LogNormal()`, `UniformTime()`, or a
        function like them.
    weight
        `(alpha, sigma) -> lambda`: `sigma_squared`, `EDMWeight(data_sd)`, or a function like them.
    drop_rate
        Probability with which a condition is left out, for classifier-free guidance.

    Raises
    ------
    ValueError
        If the rate is not in [0, 1); when called, if there is no process, or the model does not
        fit the batch.

    Examples
    --------
    For data at 0 the score is `-x / sigma^2` and leaves no error:

    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(0.1, 10.0)
    >>> loss = ContinuousDenoising(noise)
    >>> score = lambda x, t: -x / noise.variance(t)
    >>> round(float(loss(score, jnp.zeros((8, 2)), jax.random.key(0))), 6)
    0.0
    """

    noise: NoiseProcess | None = None
    levels: Levels = LogUniform()
    weight: Weight = sigma_squared
    drop_rate: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_drop_rate(self.drop_rate)

    def __call__(self, model: Any, batch: Any, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`, or of a pair of one and of conditions."""
        noise = process_of(model, self.noise)
        key_level, key_noise = jax.random.split(rng_key)
        x0, _ = split_condition(batch)
        times = self.levels(spread(key_level, len(x0), x0.dtype), noise)
        return denoising_error(model, batch, key_noise, noise, times, self.weight, self.drop_rate)

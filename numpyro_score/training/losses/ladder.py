"""Denoising over a ladder of noise levels: noise-conditional score networks.

    1/L sum_i lambda(sigma_i) 1/2 E |s(x + sigma_i z, sigma_i) + z / sigma_i|^2

(Song and Ermon 2019, arXiv:1907.05600, equations 5 and 6), with `lambda = sigma^2` by default. The
model gets the level as the time at which the process has it.
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import VE, NoiseLadder, NoiseProcess
from numpyro_score.training.losses.denoising import (
    check_drop_rate,
    denoising_error,
    process_of,
    split_condition,
)
from numpyro_score.training.losses.levels import Weight, sigma_squared, spread
from numpyro_score.types import RngKey


@final
class LadderDenoising(eqx.Module):
    """Denoising at the levels of a ladder, for a model `s(x, t)` or, on pairs, `s(x, t, y)`.

    Parameters
    ----------
    sigmas
        Levels `sigma / alpha`, falling, from `geometric_ladder`, or a `NoiseLadder` from
        `ladder_from_data`.
    noise
        The process whose times stand for the levels; by default the model's own, or, where it
        has none, `VE` between the ladder's ends.
    weight
        `(alpha, sigma) -> lambda`.
    drop_rate
        Probability with which a condition is left out, for classifier-free guidance.

    Raises
    ------
    ValueError
        If the levels do not fall or are not above 0, or the rate is not in [0, 1); when called, if
        the process does not reach the levels, or the model does not fit the batch.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE, geometric_ladder
    >>> noise = VE(0.1, 10.0)
    >>> loss = LadderDenoising(geometric_ladder(10.0, 0.1, num_levels=5), noise)
    >>> score = lambda x, t: -x / noise.variance(t)  # of data at 0
    >>> round(float(loss(score, jnp.zeros((8, 2)), jax.random.key(0))), 6)
    0.0
    """

    sigmas: tuple[float, ...] = eqx.field(static=True)
    noise: NoiseProcess | None
    weight: Weight
    drop_rate: float = eqx.field(static=True)

    def __init__(
        self,
        sigmas: Any,
        noise: NoiseProcess | None = None,
        weight: Weight = sigma_squared,
        drop_rate: float = 0.0,
    ) -> None:
        check_drop_rate(drop_rate)
        levels = np.asarray(sigmas.sigmas if isinstance(sigmas, NoiseLadder) else sigmas, float)
        if levels.ndim != 1 or levels.size < 2:
            raise ValueError(f"a ladder has at least 2 levels in a row, got shape {levels.shape}")
        if not (np.isfinite(levels).all() and (levels > 0).all() and (np.diff(levels) < 0).all()):
            raise ValueError(
                f"the ladder {levels} does not fall to an end above 0: sigma_max comes first, "
                "sigma_min last; use numpyro_score.noise.geometric_ladder"
            )
        self.sigmas = tuple(levels.tolist())
        self.noise = noise
        self.weight = weight
        self.drop_rate = drop_rate

    def _process(self, model: Any) -> NoiseProcess:
        if self.noise is None and not hasattr(model, "noise"):
            return VE(self.sigmas[-1], self.sigmas[0])
        noise = process_of(model, self.noise)
        reached = [float(noise.ratio(t)) for t in (0.0, 1.0)]
        slack = 1e-3
        if self.sigmas[0] > reached[1] * (1 + slack) or self.sigmas[-1] < reached[0] * (1 - slack):
            raise ValueError(
                f"the ladder goes from {self.sigmas[0]:g} down to {self.sigmas[-1]:g}, but the "
                f"process {noise} from {reached[1]:g} to {reached[0]:g}; give a ladder within it"
            )
        return noise

    def __call__(self, model: Any, batch: Any, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`, or of a pair of one and of conditions."""
        # numbers, also where a trace is under way
        x0, _ = split_condition(batch)
        with jax.ensure_compile_time_eval():
            noise = self._process(model)
            levels = noise.time_of(jnp.asarray(self.sigmas, x0.dtype))
        key_level, key_noise = jax.random.split(rng_key)
        # evenly over the rungs, as far as the batch allows
        place = spread(key_level, len(x0), x0.dtype) * len(self.sigmas)
        rung = jnp.floor(place).astype(jnp.int32)
        return denoising_error(
            model, batch, key_noise, noise, levels[rung], self.weight, self.drop_rate
        )

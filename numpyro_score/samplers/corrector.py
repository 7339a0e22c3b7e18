"""Predictor-corrector methods: Langevin steps after each step of another method.

    x' = x + eps s(x, t) + sqrt(2 eps) z,    eps = 2 (r |z| / |s|)^2

with the signal-to-noise ratio r of a step (Song et al. 2021, arXiv:2011.13456, algorithms 4 and 5).
They average the norms over a batch. Here draws must not depend on each other, so the norms are
replaced by expectations: `E|z|^2 = d`, and `E|s|^2 = d / sigma^2`, an upper bound that is nearly
attained where noise dominates the data. So

    eps = 2 r^2 sigma(t)^2,

whose signal-to-noise ratio is at most r, and which is stable at every level for r < 1. The factor
`1 - beta` of algorithm 5, which is near 1 on fine grids, is left out.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from numpyro_score.checks import check_whole
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import Count, Event, Memory, Row, Score, Steps
from numpyro_score.samplers.stochastic import Method, Times, reverse_diffusion


@final
class CorrectedSteps(Steps):
    """Steps of any method, each followed by Langevin steps at the time at which it ends.

    Parameters
    ----------
    time, next_time
        Ends of each step.
    predictor
        The steps of the method.
    step_size
        Langevin step size after each of them; 0 for no correction.
    num_corrections
        Number of Langevin steps after each.
    """

    time: Row
    next_time: Row
    predictor: Steps
    step_size: Row
    num_corrections: int = eqx.field(static=True)

    @property
    def num_noises(self) -> int:
        """Those of the predictor, and one for each correction."""
        return self.predictor.num_noises + self.num_corrections

    @property
    def evaluations(self) -> int | None:
        """Those of the predictor, and one for each correction."""
        each = self.predictor.evaluations
        return None if each is None else each + self.num_corrections

    def count(self, memory: Memory, num_made: Count) -> Count:
        """Those of the predictor, and one for each correction."""
        return self.predictor.count(memory, num_made) + self.num_corrections * num_made

    def remember(self, x: Event) -> Memory:
        """The memory of the predictor."""
        return self.predictor.remember(x)

    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """One step of the predictor, then the corrections."""
        assert z is not None
        zs = z if self.num_noises > 1 else z[None]
        num = self.predictor.num_noises
        first = None if num == 0 else zs[0] if num == 1 else zs[:num]
        x, memory = self.predictor.advance(score, x, memory, first)
        size = self.step_size.astype(x.dtype)

        def correct(x: Event, z: Event) -> tuple[Event, None]:
            return x + size * score(x, self.next_time) + jnp.sqrt(2 * size) * z, None

        return jax.lax.scan(correct, x, zs[num:])[0], memory

    def then_denoise(self, noise: NoiseProcess) -> "CorrectedSteps":
        """The predictor followed by its denoising step, which is not corrected."""
        predictor = self.predictor.then_denoise(noise)
        step_size = jnp.append(self.step_size, 0.0)
        return _around(predictor, step_size, self.num_corrections)


def _around(predictor: Steps, step_size: Row, num_corrections: int) -> CorrectedSteps:
    return CorrectedSteps(
        predictor.time, predictor.next_time, predictor, step_size, num_corrections
    )


def corrected(
    noise: NoiseProcess,
    times: Times,
    *,
    predictor: Method = reverse_diffusion,
    num_corrections: int = 1,
    snr: float = 0.16,
) -> CorrectedSteps:
    """A method with Langevin corrector steps; set its options by `functools.partial`.

    Parameters
    ----------
    noise, times
        As for every method, the process and decreasing times `(num_steps + 1,)`.
    predictor
        Any other method.
    num_corrections
        Number of Langevin steps after each of its steps.
    snr
        r, above 0 and below 1; .16 is the value of Song et al. for VE.

    Raises
    ------
    ValueError
        There is no correction, or `snr` is not between 0 and 1.
    TypeError
        The predictor is not a method.

    Examples
    --------
    >>> from functools import partial
    >>> import jax
    >>> from numpyro_score.noise import VP
    >>> from numpyro_score.samplers import ancestral, corrected, reverse_sde
    >>> from numpyro_score.scores import gaussian_score
    >>> score = gaussian_score([3.0], 1.0, VP())
    >>> method = partial(corrected, predictor=ancestral, snr=0.1)
    >>> sampler = reverse_sde(score, VP(), (1,), num_steps=100, method=method)
    >>> sampler.evaluations, round(float(sampler.sample(jax.random.key(0), 1000).mean()))
    (200, 3)
    """
    check_whole("num_corrections", num_corrections)
    if not 0 < snr < 1:
        raise ValueError(f"snr is {snr:g} but must lie between 0 and 1, such as 0.16")
    if not callable(predictor):
        raise TypeError(
            f"predictor is {predictor!r}; a method of this package is needed, such as ancestral"
        )
    step_size = 2 * snr**2 * noise.variance(times[1:])
    return _around(predictor(noise, times), step_size, int(num_corrections))

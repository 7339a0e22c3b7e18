"""`DiffusionSampler`: independent draws by any `Steps`, in batches of bounded memory.

Sample i has its own key, `fold_in(rng_key, i)`, for every batch size.

The samplers are those of Song et al. 2021, arXiv:2011.13456.
"""

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.samplers.agreement import Levels, disagreements
from numpyro_score.samplers.batches import draw_in_batches
from numpyro_score.samplers.steps import Event, Score, Steps
from numpyro_score.samplers.walk import (
    DiffusionInfo,
    DiffusionState,
    Trajectory,
    advance,
    row_of,
    walk,
)
from numpyro_score.types import RngKey

if TYPE_CHECKING:
    import blackjax


def check_score(score: Score, shape: tuple[int, ...], time: Any) -> None:
    """Check that a score maps a point and a scalar time to an array of the point's shape.

    Raises
    ------
    TypeError
        It cannot be called, or does not return one real array.
    ValueError
        The array has another shape, or the score was learned in whitened coordinates.
    """
    if not callable(score):
        raise TypeError(f"the score is a {type(score).__name__}; a callable (x, t) is needed")
    if hasattr(score, "whitening"):
        raise ValueError(
            f"the score is a {type(score).__name__}, whose noise is isotropic in whitened "
            "coordinates only; sample score.standard, and map the draws by "
            "score.whitening.unwhiten"
        )
    dtype = jnp.result_type(float)
    x, t = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct((), dtype)
    out = eqx.filter_eval_shape(score, x, t)
    if not hasattr(out, "shape") or not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"score(x, t) returns {out}; one array of real numbers like x is needed")
    if out.shape != shape:
        raise ValueError(
            f"score(x, t) returns shape {out.shape} for a point of shape {shape}; it must be "
            "the same: give the shape of ONE point, and a score of one point (the sampler applies "
            "jax.vmap itself)"
        )


@final
class DiffusionSampler(eqx.Module):
    """Independent draws by a fixed number of steps; made by `reverse_sde` and similar functions.

    The draws are approximate: they have the error of the score, of the discretisation and of the
    starting distribution, which no Metropolis step corrects.

    Parameters
    ----------
    score
        `score(x, t)` of one point.
    steps
        The steps of a method.
    shape
        Shape of one point.
    start_mean, start_sd
        The Gaussian to start from, numbers or arrays that broadcast to `shape`.
    levels
        Noise levels of the score, at which draws are compared with it; None for no comparison.

    Raises
    ------
    ValueError
        The score or the starting Gaussian does not have the shape.
    TypeError
        The score is not a function of a point and a time.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import reverse_sde
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> sampler = reverse_sde(score, score.noise, (2,), num_steps=20)
    >>> sampler.evaluations, sampler.sample(jax.random.key(0), 500).shape
    (20, (500, 2))
    """

    score: Score
    steps: Steps
    shape: tuple[int, ...] = eqx.field(static=True)
    start_mean: Float[Array, "..."]
    start_sd: Float[Array, "..."]
    levels: Levels | None = None

    def __check_init__(self) -> None:
        check_score(self.score, self.shape, self.steps.time[0])
        for name, value in (("mean", self.start_mean), ("sd", self.start_sd)):
            try:
                fits = np.broadcast_shapes(value.shape, self.shape) == self.shape
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(
                    f"the {name} of the start has shape {value.shape}, which does not broadcast "
                    f"to a point's shape {self.shape}"
                )

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return len(self.steps.time)

    @property
    def evaluations(self) -> int | None:
        """Calls of the score for one draw; None for an adaptive method: see `draw`."""
        each = self.steps.evaluations
        return None if each is None else self.num_steps * each

    @property
    def times(self) -> Float[Array, " knots"]:
        """`(num_steps + 1,)`: the times at which steps start, and the last step ends."""
        return jnp.append(self.steps.time, self.steps.next_time[-1])

    def start(self, rng_key: RngKey) -> Event:
        """A starting point."""
        z = jax.random.normal(rng_key, self.shape)
        return self.start_mean + self.start_sd * z

    def init(self, position: Event, rng_key: RngKey | None = None) -> DiffusionState:
        """The state at the first time, as BlackJAX's `init`."""
        del rng_key
        if jnp.shape(position) != self.shape:
            raise ValueError(
                f"the position has shape {jnp.shape(position)}; this sampler moves one point of "
                f"shape {self.shape}: use jax.vmap for many"
            )
        memory = self.steps.remember(position)
        return DiffusionState(position, memory, jnp.zeros((), int), self.times[0])

    def step(self, rng_key: RngKey, state: DiffusionState) -> tuple[DiffusionState, DiffusionInfo]:
        """One step, as BlackJAX's `step`; after the last one the state does not change."""
        at = jnp.minimum(state.num_made, self.num_steps - 1)
        row = row_of(self.steps, at)
        moved, memory = advance(row, self.score, rng_key, state.position, state.memory)
        new = DiffusionState(moved, memory, state.num_made + 1, self.times[at + 1])
        was_finished = state.num_made >= self.num_steps
        new = jax.tree.map(lambda old, new: jnp.where(was_finished, old, new), state, new)
        calls = jnp.asarray(self.steps.count(new.memory, new.num_made))
        return new, DiffusionInfo(new.num_made >= self.num_steps, calls)

    def algorithm(self) -> "blackjax.SamplingAlgorithm":
        """`init` and `step` as a BlackJAX `SamplingAlgorithm`."""
        from blackjax import SamplingAlgorithm

        def init(position: Event, rng_key: RngKey | None = None) -> DiffusionState:
            return self.init(position, rng_key)

        def step(rng_key: RngKey, state: DiffusionState) -> tuple[DiffusionState, DiffusionInfo]:
            return self.step(rng_key, state)

        return SamplingAlgorithm(init, step)

    def sample(
        self,
        rng_key: RngKey,
        num_samples: int,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Float[np.ndarray, "{num_samples} ..."]:
        """Independent draws, on the host.

        Parameters
        ----------
        rng_key
            One random key; draw i is the same for every batch size, up to rounding.
        num_samples
            Number of draws, at least 1.
        batch_size
            Number of draws at a time, which bounds the memory on the device.
        progress
            Whether to show a progress bar.

        Returns
        -------
        Array `(num_samples, *shape)`.

        Raises
        ------
        ValueError, TypeError
            A number is not a whole number of at least 1.

        Warns
        -----
        UserWarning
            If the draws do not agree with the score: see `disagreements`.
        """
        draws = draw_in_batches(
            partial(_draw, self, rng_key), self.shape, num_samples, batch_size, progress=progress
        )
        for text in self.disagreements(draws):
            warnings.warn(text, stacklevel=3)
        return draws

    def disagreements(self, draws: Float[np.ndarray, "draw ..."]) -> list[str]:
        """What is wrong with independent draws of this sampler by its score; see `agreement`."""
        return [] if self.levels is None else disagreements(self.score, self.levels, draws)

    def trajectory(self, rng_key: RngKey, num_samples: int) -> Trajectory:
        """The same draws as `sample` with their paths, for plots.

        Raises
        ------
        ValueError, TypeError
            `num_samples` is not a whole number of at least 1.
        """
        check_whole("num_samples", num_samples)
        positions = _draw_paths(self, rng_key, jnp.arange(num_samples))
        return Trajectory(np.asarray(self.times), np.asarray(positions))

    def run(self, rng_key: RngKey, position: Event) -> Event:
        """The end of the path from a starting point; a pure function."""
        return walk(self.steps, self.score, rng_key, position)[0]

    def draw(self, rng_key: RngKey) -> tuple[Event, Int[Array, ""]]:
        """One draw, and the number of score calls; a pure function."""
        start = self.start(jax.random.fold_in(rng_key, 0))
        x, memory, _ = walk(self.steps, self.score, rng_key, start)
        return x, jnp.asarray(self.steps.count(memory, self.num_steps), jnp.int32)


@eqx.filter_jit
def _draw(sampler: DiffusionSampler, rng_key: RngKey, which: Int[Array, " num"]) -> Array:
    return jax.vmap(lambda index: sampler.draw(jax.random.fold_in(rng_key, index))[0])(which)


@eqx.filter_jit
def _draw_paths(sampler: DiffusionSampler, rng_key: RngKey, which: Int[Array, " num"]) -> Array:
    def one(index: Array) -> Array:
        key = jax.random.fold_in(rng_key, index)
        x = sampler.start(jax.random.fold_in(key, 0))
        _, _, way = walk(sampler.steps, sampler.score, key, x, keeps_path=True)
        return jnp.concatenate([x[None], jnp.asarray(way)])

    return jax.vmap(one)(which)

"""From draws to a score in one call: whitened coordinates, noise levels in their units, a network.

Denoising score matching over all levels of a variance-exploding process (Song et al. 2021,
arXiv:2011.13456), with levels chosen from the draws as Song and Ermon (2020, arXiv:2006.09011) do.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from numpyro_score.noise import VE, ladder_from_data
from numpyro_score.progress import ProgressCallback
from numpyro_score.scores import ResidualMLP, ScoreNetwork, WhitenedScore, Whitening
from numpyro_score.training.data import Points, as_points
from numpyro_score.training.fit import FitResult, fit
from numpyro_score.training.losses import ContinuousDenoising
from numpyro_score.types import RngKey

LOSS = ContinuousDenoising()


def fit_score(
    data: Any,
    *,
    rng_key: RngKey,
    width: int = 64,
    depth: int = 3,
    num_steps: int = 3000,
    batch_size: int | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | ProgressCallback = True,
) -> FitResult:
    """Train a score at every noise level on draws of any scale, location and correlation.

    Draws are centred and scaled in float64, so that parameters of sds 100 and .01, or a location of
    2458000.123 +- .0005, are learned alike.

    Parameters
    ----------
    data
        An array of draws `(num, *event)`, a dict of draws, a DataTree or an MCMC, as of `fit`;
        in float64 where they are known so. Or a pair of draws and of their conditions
        `(num, condition)`, of mean about 0 and sd about 1, for the score given a condition.
    rng_key
        For the network's initial weights and the training.
    width, depth
        Of the `ResidualMLP`.
    num_steps, batch_size, checkpoint, progress
        As of `fit`.

    Returns
    -------
    The trained `WhitenedScore`, and the history.

    Raises
    ------
    ValueError
        If draws are too few, not finite or too coarse for their spread, if a few outliers hold
        nearly all of their variance, or if a setting cannot be one.

    Examples
    --------
    >>> import jax, numpy as np
    >>> draws = {"mu": np.random.default_rng(0).normal(2458000.123, 5e-4, 1000)}
    >>> result = fit_score(draws, rng_key=jax.random.key(0), num_steps=20, progress=False)
    >>> round(float(result.model.whitening.center[0]), 3)
    2458000.123
    """
    points = as_points(data, np.float64)
    key_model, key_fit = jax.random.split(rng_key)
    score = untrained(points, key_model, width, depth)
    draws, *conditions = points.arrays if isinstance(points.arrays, tuple) else (points.arrays,)
    standard = score.whitening.whiten(draws)
    model, history = fit(
        score.standard,
        (standard, *conditions) if conditions else standard,
        LOSS,
        rng_key=key_fit,
        num_steps=num_steps,
        batch_size=batch_size,
        checkpoint=checkpoint,
        progress=progress,
    )
    history.attrs["variables"] = list(points.variables)
    return FitResult(WhitenedScore(model, score.whitening), history)


def untrained(points: Points, rng_key: RngKey, width: int, depth: int) -> WhitenedScore:
    """The score that `fit_score` starts from: whitening, noise levels and network for draws.

    Parameters
    ----------
    points
        Draws in float64, or a pair of them and of their conditions.
    rng_key
        For the network's initial weights.
    width, depth
        Of the `ResidualMLP`.
    """
    draws, *conditions = points.arrays if isinstance(points.arrays, tuple) else (points.arrays,)
    whitening = Whitening.from_draws(draws)
    standard = whitening.whiten(draws)
    ladder = ladder_from_data(standard)
    y_dim = _length(conditions[0]) if conditions else 0
    network = ResidualMLP(draws.shape[1:], width, depth, y_dim, rng_key=rng_key)
    noise = VE(float(ladder.sigmas[-1]), float(ladder.sigmas[0]))
    return WhitenedScore(ScoreNetwork(network, noise, standard), whitening)


def _length(conditions: Any) -> int:
    """Length of a condition.

    Raises
    ------
    ValueError
        If conditions are not vectors of finite numbers.
    """
    if np.ndim(conditions) != 2 or not np.isfinite(conditions).all():
        raise ValueError(
            f"conditions have shape {np.shape(conditions)}; give finite vectors (num, condition)"
        )
    return np.shape(conditions)[1]

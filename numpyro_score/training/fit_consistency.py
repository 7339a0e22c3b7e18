"""A consistency model of draws in one call: distilled from a trained score, or from draws alone.

Song et al. 2023, arXiv:2303.01469; Song and Dhariwal 2023, arXiv:2310.14189.
"""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.consistency import consistency
from numpyro_score.scores import ConsistencyModel, ScoreModel, WhitenedScore
from numpyro_score.training.data import as_points
from numpyro_score.training.fit import FitResult, fit
from numpyro_score.training.fit_score import untrained
from numpyro_score.training.losses import ConsistencyDistillation, ConsistencyTraining
from numpyro_score.training.optimizer import cosine_adam
from numpyro_score.types import RngKey

FEWEST_STEPS = 100
"""Steps of training from which on its draws are checked; fewer are trials."""

NUM_CHECKED = 500
"""Draws of the trained model that are compared with the data."""

MOST_OFF = 0.2
"""By how much their sd may differ from that of the data, and their mean in units of it. For 500
draws of one coordinate that is 4 standard errors of the mean and 6 of the sd."""

OPTIMIZER = cosine_adam(1e-3)
"""One object, so that every training with it finds the same compiled program."""


def fit_consistency(
    data: Any,
    *,
    rng_key: RngKey,
    teacher: Any = None,
    width: int = 64,
    depth: int = 3,
    num_steps: int = 3000,
    batch_size: int | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | ProgressCallback = True,
) -> FitResult:
    """Train a consistency model, which draws in one call of its network.

    Parameters
    ----------
    data
        Draws as of `fit_score`, or a pair of draws and of their conditions.
    rng_key
        For the network's initial weights and the training.
    teacher
        A trained score of the same draws, of `fit_score` or `fit`; training starts with its
        network. None trains without a teacher, which is less accurate.
    width, depth
        Of the network, without a teacher.
    num_steps, batch_size, checkpoint, progress
        As of `fit`.

    Returns
    -------
    The trained `ConsistencyModel`, and the history. Where the teacher is a `WhitenedScore`, or
    there is none, samplers take `model.standard`, and `model.whitening.unwhiten` maps their draws.

    Raises
    ------
    ValueError, TypeError
        As of `fit_score`; if the teacher is not a score model, or of points of another shape.

    Warns
    -----
    UserWarning
        If draws of the trained model have another mean or sd than the data, conditional ones apart.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from numpyro_score.training import fit_score
    >>> draws = np.random.default_rng(0).normal(2458000.123, 5e-4, (1000, 1))
    >>> options = {"rng_key": jax.random.key(0), "num_steps": 20, "progress": False}
    >>> model = fit_consistency(draws, teacher=fit_score(draws, **options).model, **options).model
    >>> from numpyro_score.samplers import consistency
    >>> sampler = consistency(model.standard, model.noise, model.shape)
    >>> x = model.whitening.unwhiten(sampler.sample(jax.random.key(1), 100))
    >>> x.shape, round(float(x.mean()), 2)
    ((100, 1), 2458000.12)
    """
    if teacher is not None and not isinstance(teacher, ScoreModel):
        raise TypeError(
            f"the teacher is a {type(teacher).__name__}; give a trained score model, such as the "
            "model of fit_score"
        )
    points = as_points(data, np.float64)
    key_model, key_fit, key_check = jax.random.split(rng_key, 3)
    score = untrained(points, key_model, width, depth) if teacher is None else teacher
    draws = points.arrays[0] if isinstance(points.arrays, tuple) else points.arrays
    if score.shape is not None and draws.shape[1:] != score.shape:
        raise ValueError(
            f"draws have shape {draws.shape[1:]} each, and the teacher's points {score.shape}; "
            "give the draws that the teacher was trained on"
        )
    whitening = score.whitening if isinstance(score, WhitenedScore) else None
    inner = score.standard if isinstance(score, WhitenedScore) else score
    if whitening is not None:
        draws = whitening.whiten(draws)
    loss = ConsistencyTraining(num_steps) if teacher is None else ConsistencyDistillation(inner)
    model, history = fit(
        ConsistencyModel(inner),
        (draws, points.arrays[1]) if isinstance(points.arrays, tuple) else draws,
        loss,
        rng_key=key_fit,
        num_steps=num_steps,
        batch_size=batch_size,
        optimizer=OPTIMIZER,
        checkpoint=checkpoint,
        progress=progress,
    )
    history.attrs["variables"] = list(points.variables)
    if num_steps >= FEWEST_STEPS and not isinstance(points.arrays, tuple):
        check_draws(model, np.asarray(draws), key_check)
    if whitening is not None:
        model = ConsistencyModel(WhitenedScore(model.score, whitening), model.end)
    return FitResult(model, history)


def check_draws(model: ConsistencyModel, data: np.ndarray, rng_key: RngKey) -> None:
    """Compare draws in one step with the data, over all coordinates together.

    Parameters
    ----------
    model
        In the coordinates of the data.
    data
        Draws that it was trained on.
    rng_key
        For the draws to compare.

    Warns
    -----
    UserWarning
        If mean or sd differ.
    """
    with warnings.catch_warnings():
        # that the noise does not suit the data is said where the model is sampled
        warnings.simplefilter("ignore", UserWarning)
        sampler = consistency(model, model.noise, data.shape[1:])
    draws = np.asarray(sampler.sample(rng_key, NUM_CHECKED), np.float64)
    scale = np.sqrt(data.var(axis=0).mean())
    if not scale > 0:
        return
    ratio = np.sqrt(draws.var(axis=0).mean()) / scale
    offset = np.sqrt(((draws.mean(axis=0) - data.mean(axis=0)) ** 2).mean()) / scale
    if abs(ratio - 1) < MOST_OFF and offset < MOST_OFF:
        return
    warnings.warn(
        f"draws of the trained consistency model have {ratio:.2f} times the sd of the data, and "
        f"their mean is {offset:.2f} sd off: it does not fit them; take more steps, a larger "
        "network or a teacher (fit_score), and transform data with heavy tails first",
        stacklevel=3,
    )

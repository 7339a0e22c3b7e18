"""A consistency model of draws in one call: distilled from a trained score, or from draws alone.

Song et al. 2023, arXiv:2303.01469; Song and Dhariwal 2023, arXiv:2310.14189.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from numpyro_score.progress import ProgressCallback
from numpyro_score.scores import ConsistencyModel, ScoreModel, WhitenedScore
from numpyro_score.training.data import as_points
from numpyro_score.training.fit import FitResult, fit
from numpyro_score.training.fit_score import untrained
from numpyro_score.training.losses import ConsistencyDistillation, ConsistencyTraining
from numpyro_score.training.optimizer import cosine_adam
from numpyro_score.types import RngKey

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
    key_model, key_fit = jax.random.split(rng_key)
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
    if whitening is not None:
        model = ConsistencyModel(WhitenedScore(model.score, whitening), model.end)
    return FitResult(model, history)

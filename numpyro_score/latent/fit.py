"""From data to a score of their codes in one call: a coder, its error, a score and its flow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.distributions.coverage import kept_points
from numpyro_score.distributions.training import NUM_FLOW_STEPS
from numpyro_score.latent.autoencoder import fit_autoencoder
from numpyro_score.latent.coder import check_latent, encode_many
from numpyro_score.latent.model import LatentScore, reconstruction
from numpyro_score.noise import VE, ladder_from_data
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import flow_proposal
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.scores.standardisation import check_data
from numpyro_score.training import FitResult, fit
from numpyro_score.training.data import as_points
from numpyro_score.training.losses import ContinuousDenoising
from numpyro_score.types import RngKey

HELD_OUT = 0.1
"""Share of the points that the coder is not trained on, which its error is measured on."""

LOSS = ContinuousDenoising()


def fit_latent(
    data: Any,
    latent: int = 16,
    *,
    rng_key: RngKey,
    coder: Callable[..., Any] = fit_autoencoder,
    width: int = 128,
    depth: int = 3,
    num_steps: int = 3000,
    batch_size: int | None = None,
    num_flow_steps: int = NUM_FLOW_STEPS,
    checkpoint: str | Path | None = None,
    progress: bool | ProgressCallback = True,
) -> FitResult:
    """Train a score of a few latent coordinates of data.

    Parameters
    ----------
    data
        Points `(num, *event)`, such as images or fields, or draws as of `fit`.
    latent
        Number of latent coordinates.
    rng_key
        For all that is random.
    coder
        `(points, latent, rng_key=...) -> Coder`: `fit_autoencoder`, with options by
        `functools.partial`, or `principal_components`, which needs no training.
    width, depth
        Of the `ResidualMLP` that is the score of codes.
    num_steps, batch_size, checkpoint, progress
        Of its training, as of `fit`.
    num_flow_steps
        Steps of the map of `latent.prior`.

    Returns
    -------
    The trained `LatentScore`, and the history of its score. `model.error` is the error of the
    reconstruction of points that the coder was not trained on.

    Raises
    ------
    ValueError
        If there are more latent than data coordinates, or too few points; as `fit` does.
    TypeError
        If `latent` is not a whole number, or data are a pair with conditions.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from numpyro_score.latent import principal_components
    >>> images = np.random.default_rng(0).normal(size=(200, 1, 4, 4))
    >>> options = {"coder": principal_components, "num_steps": 5, "progress": False}
    >>> latent, history = fit_latent(images, 3, rng_key=jax.random.key(0), **options)
    >>> latent.sample(jax.random.key(1), 5).shape, bool(latent.error.unexplained > 0.5)
    ((5, 1, 4, 4), True)
    """
    points = as_points(data)
    if isinstance(points.arrays, tuple):
        raise TypeError("data are a pair with conditions; give the points alone")
    check_data(points.arrays)
    num_held_out = max(round(HELD_OUT * points.num), 1)
    check_latent(latent, points.arrays.shape[1:], points.num - num_held_out)
    key_split, key_coder, key_model, key_fit = jax.random.split(rng_key, 4)
    order = np.asarray(jax.random.permutation(key_split, points.num))
    unseen, seen = points.arrays[order[:num_held_out]], points.arrays[order[num_held_out:]]
    more = {} if coder is not fit_autoencoder else {"progress": progress}
    made = coder(seen, latent, rng_key=key_coder, **more)
    codes = np.asarray(encode_many(made, jnp.asarray(points.arrays)))
    ladder = ladder_from_data(codes)
    noise = VE(float(ladder.sigmas[-1]), float(ladder.sigmas[0]))
    network = ResidualMLP(latent, width, depth, rng_key=key_model)
    score, history = fit(
        ScoreNetwork(network, noise, codes),
        codes,
        LOSS,
        rng_key=key_fit,
        num_steps=num_steps,
        batch_size=batch_size,
        checkpoint=checkpoint,
        progress=progress,
    )
    history.attrs["variables"] = list(points.variables)
    flow = flow_proposal(score, noise, latent, num_steps=num_flow_steps, data=codes)
    model = LatentScore(made, flow, kept_points(codes), reconstruction(made, unseen))
    return FitResult(model, history)

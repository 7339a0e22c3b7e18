"""Independent draws by a finite-time sampler that a score drives."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.fingerprint import fingerprint, name_of
from numpyro_score.infer.draw_space import DrawSpace
from numpyro_score.infer.independent import Draw, independent
from numpyro_score.infer.sampler import Context, Sampler
from numpyro_score.types import RngKey

type LogProb = Callable[[Any, Array], tuple[Array, Array]]
"""(sampler, flat point) -> log density, and how often the score was called for it."""


def draws_of_score(
    owner: str,
    model: Callable[..., Any] | None,
    score: Any,
    shape: tuple[int, ...] | None,
    make: Callable[[tuple[int, ...]], Any],
    settings: Mapping[str, Any],
    log_prob: LogProb | None = None,
) -> tuple[DrawSpace, Sampler]:
    """Where the draws of a score live, and how they are made; approximate.

    Parameters
    ----------
    owner
        Name of the kernel, for messages.
    model
        A NumPyro model in whose unconstrained space the draws live; None for points.
    score
        What drives the sampler.
    shape
        Shape of one point; None for that which the score knows.
    make
        Shape of a point -> the sampler of such points.
    settings
        What distinguishes one such kernel from another.
    log_prob
        Log density of a draw, where there is one.

    Raises
    ------
    ValueError, TypeError
        If the shape of a point is not known, or no sampler can be made of what was given.
    """
    known = getattr(score, "shape", None) if shape is None else tuple(shape)
    space = DrawSpace(owner, model, known, make)
    named = {name: getattr(value, "__qualname__", value) for name, value in settings.items()}
    sampler = independent(
        partial(_draw, space, log_prob),
        is_exact=False,
        has_logdensity=log_prob is not None,
        settings={**named, **_identity(score, settings)},
        remark=partial(_remark, space),
    )
    return space, sampler


def _identity(score: Any, settings: Mapping[str, Any]) -> dict[str, str]:
    """Name of a score, and fingerprints of it and of the settings, functions among them."""
    digests = {"score_digest": fingerprint(score), "settings_digest": fingerprint(settings)}
    return {"score": name_of(score), **digests}


def _remark(space: DrawSpace, draws: Float[np.ndarray, "chain dim"]) -> str | None:
    """Whether the last draws disagree with the score."""
    shape = draws.shape[1:] if space.shape is None else space.shape
    found = space.make(shape).disagreements(draws.reshape(-1, *shape))
    return "; ".join(found) or None


def _draw(
    space: DrawSpace, log_prob: LogProb | None, rng_key: RngKey, template: Any, context: Context
) -> Draw:
    """One draw, and its log density where there is one."""
    shape = template.shape if context.model is None else ravel_pytree(template)[0].shape
    sampler = space.make(shape)
    x, num_grad = sampler.draw(rng_key)
    if log_prob is None:
        return Draw(x, None, num_grad)
    logdensity, more = log_prob(sampler, x)
    return Draw(x, logdensity, num_grad + more)

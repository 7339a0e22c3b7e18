"""Files of learned distributions: a flow in the format of `numpyro_score.training.io`."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from numpyro_score.distributions.conditional_flow import ConditionalFlow
from numpyro_score.distributions.supports import Variable, decode, encode
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.training.io import about_model, load, save

KNOWN = (ConditionalFlow, LearnedProposal, MonotoneFlow)
"""Classes that a file of a flow may hold, besides those of scores and noise processes."""


def write(distribution: Any, path: str | Path) -> Path:
    """Write a learned distribution, conditional or not."""
    points = distribution.points
    return save(
        distribution.flow,
        path,
        {
            "distribution": type(distribution).__name__,
            "support": encode(distribution.support),
            "event_shape": list(distribution.event_shape),
            "variables": [[name, list(shape)] for name, shape in distribution.variables],
            "points": None if points is None else np.asarray(points, float).tolist(),
        },
    )


def read(path: str | Path, kind: str, expected: type) -> tuple[Any, dict[str, Any]]:
    """The flow in a file, and the other arguments of the distribution's constructor.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.
    """
    about = about_model(path)
    if about.get("distribution") != kind:
        found = about.get("distribution", "model")
        raise ValueError(f"{path} holds a {found}, not a {kind}; read it with {_reader(found)}")
    flow = load(path, KNOWN)
    if not isinstance(flow, expected):
        raise ValueError(f"{path} holds a {type(flow).__name__}, which is not a {kind}")
    points = about["points"]
    return flow, {
        "support": decode(about["support"]),
        "event_shape": tuple(about["event_shape"]),
        "variables": tuple(Variable(name, tuple(shape)) for name, shape in about["variables"]),
        "points": None if points is None else jnp.asarray(np.array(points)),
    }


def _reader(found: str) -> str:
    return "numpyro_score.training.load" if found == "model" else f"{found}.load"

"""`numpyro-score generate`: draws of a trained score, by a sampler."""

import argparse
import ast
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.cli.common import (
    BadInput,
    checking,
)
from numpyro_score.cli.score_options import SAMPLER_STEPS
from numpyro_score.diagnostics.files import write_draws
from numpyro_score.infer.score_samplers import LONG_STEP
from numpyro_score.latent.model import CLASSES, LatentScore
from numpyro_score.samplers import (
    annealed_langevin,
    consistency,
    default_ladder,
    probability_flow,
    reverse_sde,
)
from numpyro_score.scores import ConsistencyModel, ScoreModel
from numpyro_score.training.io import about_model, load

Shapes = dict[str, tuple[int, ...]]


def _annealed(score: ScoreModel, shape: tuple[int, ...], steps: int, denoise: bool) -> Any:
    ladder = default_ladder(score.noise, math.prod(shape))
    step_size = LONG_STEP * float(ladder[-1]) ** 2
    return annealed_langevin(
        score,
        ladder,
        shape,
        steps_per_level=max(1, round(steps / len(ladder))),
        step_size=step_size,
        noise=score.noise,
        denoise=denoise,
    )


def _reverse(score: ScoreModel, shape: tuple[int, ...], steps: int, denoise: bool) -> Any:
    return reverse_sde(score, score.noise, shape, num_steps=steps, denoise=denoise)


def _flow(score: ScoreModel, shape: tuple[int, ...], steps: int, denoise: bool) -> Any:
    return probability_flow(score, score.noise, shape, num_steps=steps, denoise=denoise)


def _consistency(model: ConsistencyModel, shape: tuple[int, ...], steps: int, denoise: bool) -> Any:
    del denoise  # its draws are at the end of the path already
    return consistency(model, model.noise, shape, num_steps=steps)


SAMPLERS: dict[str, Callable[..., Any]] = {
    "reverse_sde": _reverse,
    "probability_flow": _flow,
    "annealed_langevin": _annealed,
    "consistency": _consistency,
}
"""What makes a sampler, by its name."""


def do(args: argparse.Namespace) -> int:
    """Draw, and write the draws."""
    make = SAMPLERS[args.sampler]
    steps = SAMPLER_STEPS[args.sampler] if args.steps is None else args.steps
    with checking():
        loaded = load(args.score, CLASSES)
        score: Any = loaded.score if isinstance(loaded, LatentScore) else loaded
        _check_kind(args, score)
        point = getattr(loaded, "event_shape", score.shape)
        variables = _variables(about_model(args.score).get("variables", []), point)
        shape = score.shape
        if shape is None:
            shape = _joined(variables)
        whitening = getattr(score, "whitening", None)
        standard = score if whitening is None else score.standard
        sampler = make(standard, shape, steps, args.denoise)
        draws = sampler.sample(
            jax.random.key(args.seed),
            args.num,
            batch_size=args.batch_size,
            progress=args.progress,
        )
        if whitening is not None:
            draws = whitening.unwhiten(draws)
        if isinstance(loaded, LatentScore):
            draws = loaded.decode_many(draws, batch_size=args.batch_size)
        tree = _tree(draws, variables)
        tree.attrs |= {
            "sampler": args.sampler,
            "exact": 0,
            "independent_draws": 1,
            "complete": 1,
            "num_steps": sampler.num_steps,
            "evaluations": sampler.evaluations,
            "score": args.score.name,
        }
        path = write_draws(tree, args.out)
    bad = int(np.sum(~np.isfinite(draws).reshape(len(draws), -1).all(axis=1)))
    if bad:
        raise BadInput(f"{bad} of {args.num} draws at {path} are not finite; take more --steps")
    print(f"{args.num} draws, approximate and independent, are at {path}")
    return 0


def _check_kind(args: argparse.Namespace, score: Any) -> None:
    """Refuse a file that the sampler cannot use.

    Raises
    ------
    BadInput
        If it does not hold what the sampler draws from.
    """
    if args.sampler == "consistency":
        if not isinstance(score, ConsistencyModel):
            raise BadInput(
                f"{args.score} holds a {type(score).__name__}; --sampler consistency draws from a "
                "consistency model: numpyro-score fit DRAWS --teacher SCORE trains one"
            )
    elif isinstance(score, ConsistencyModel):
        raise BadInput(
            f"{args.score} holds a consistency model, which is no score; give --sampler consistency"
        )
    elif not isinstance(score, ScoreModel):
        raise BadInput(
            f"{args.score} holds a {type(score).__name__}, which has no noise levels to sample "
            "from; give a score of numpyro-score fit"
        )


def _variables(names: list[str], shape: tuple[int, ...] | None) -> Shapes:
    """Variables that a score's points are joined from, as `as_points` names them.

    Raises
    ------
    BadInput
        If neither the file nor the score says what a point is.
    """
    if not names:
        if shape is None:
            raise BadInput(
                "neither the file nor the network says what shape a point has; sample it in "
                "Python, with numpyro_score.samplers"
            )
        return {"x": shape}
    variables = {}
    for text in names:
        name, _, size = text.partition(" ")
        variables[name] = ast.literal_eval(size) if size else ()
    return variables


def _joined(variables: Shapes) -> tuple[int, ...]:
    """Shape of the points that variables are joined to: a single one keeps its own."""
    if len(variables) == 1 and (only := next(iter(variables.values()))):
        return only
    return (sum(math.prod(shape) for shape in variables.values()),)


def _tree(draws: np.ndarray, variables: Shapes) -> xr.DataTree:
    """Draws by variable, as one chain."""
    flat = draws.reshape(len(draws), -1)
    ends = np.cumsum([math.prod(shape) for shape in variables.values()])
    parts = np.split(flat, ends[:-1], axis=1)
    posterior = {
        name: (
            ("chain", "draw", *(f"{name}_dim_{i}" for i in range(len(shape)))),
            part.reshape(1, len(draws), *shape),
        )
        for (name, shape), part in zip(variables.items(), parts, strict=True)
    }
    dataset = xr.Dataset(posterior, coords={"chain": [0], "draw": np.arange(len(draws))})
    return xr.DataTree.from_dict({"posterior": dataset})

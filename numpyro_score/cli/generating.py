"""`numpyro-score generate`: draws of a trained score, by a sampler."""

import argparse
import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.cli.common import (
    BadInput,
    add_command,
    add_output,
    check_output,
    checking,
    whole,
)
from numpyro_score.diagnostics.files import SUFFIXES, write_draws
from numpyro_score.infer.score_samplers import LONG_STEP
from numpyro_score.samplers import (
    annealed_langevin,
    default_ladder,
    probability_flow,
    reverse_sde,
)
from numpyro_score.scores import ScoreModel
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


SAMPLERS: dict[str, tuple[Callable[..., Any], int]] = {
    "reverse_sde": (_reverse, 100),
    "probability_flow": (_flow, 20),
    "annealed_langevin": (_annealed, 1000),
}
"""Name -> the sampler, and its steps by default."""


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    added = add_command(
        commands, "generate", _generate, "Draw from a score that numpyro-score fit trained."
    )
    added.add_argument("score", type=Path, metavar="FILE", help="of numpyro-score fit, or save()")
    added.add_argument(
        "--sampler", choices=SAMPLERS, default="reverse_sde", help="(default %(default)s)"
    )
    added.add_argument("--num", type=whole(1), default=1000, help="(default %(default)s)")
    defaults = ", ".join(f"{name} {steps}" for name, (_, steps) in SAMPLERS.items())
    added.add_argument(
        "--steps", type=whole(1), help=f"of the sampler, over all levels (default: {defaults})"
    )
    added.add_argument("--denoise", action="store_true", help="end with the mean without noise")
    added.add_argument("--batch-size", type=whole(1), metavar="N", help="draws at once")
    added.add_argument("--seed", type=whole(0), default=0, help="(default %(default)s)")
    add_output(added, "draws.nc")


def _generate(args: argparse.Namespace) -> int:
    if args.out.suffix not in SUFFIXES:
        raise BadInput(f"--out must end in {' or '.join(SUFFIXES)}, got {args.out}")
    check_output(args.out)
    make, steps = SAMPLERS[args.sampler]
    steps = steps if args.steps is None else args.steps
    with checking():
        score = load(args.score)
        if not isinstance(score, ScoreModel):
            raise BadInput(
                f"{args.score} holds a {type(score).__name__}, which has no noise levels to sample "
                "from; give a score of numpyro-score fit"
            )
        variables = _variables(about_model(args.score).get("variables", []), score.shape)
        shape = score.shape
        if shape is None:
            shape = _joined(variables)
        sampler = make(score, shape, steps, args.denoise)
        draws = sampler.sample(
            jax.random.key(args.seed),
            args.num,
            batch_size=args.batch_size,
            progress=args.progress,
        )
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

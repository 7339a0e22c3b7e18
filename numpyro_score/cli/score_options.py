"""What can be typed to train a score and to draw from it.

As in `options`, nothing is imported here that takes time.
"""

import argparse
from pathlib import Path
from typing import Any

from numpyro_score.cli.common import (
    BadInput,
    add_command,
    add_output,
    add_seed,
    check_files,
    check_output,
    check_suffix,
    whole,
)

SAMPLER_STEPS = {
    "reverse_sde": 100,
    "probability_flow": 20,
    "annealed_langevin": 1000,
    "consistency": 1,
}
"""Samplers of `generate`, and their steps by default."""


def fit(commands: Any) -> None:
    """Declare `fit`."""
    text = "Train a score at every noise level on the draws in a file."
    added = add_command(commands, "fit", "fitting", _check_fit, text)
    added.add_argument("draws", type=Path, metavar="FILE", help="any that ArviZ wrote")
    added.add_argument(
        "--variable",
        action="append",
        metavar="NAME",
        help="variable of the posterior, may be given again (default: all real ones)",
    )
    added.add_argument(
        "--steps", type=whole(1), default=3000, help="training steps (default %(default)s)"
    )
    text = "draws per training step (default 512, or all draws if fewer)"
    added.add_argument("--batch-size", type=whole(1), help=text)
    added.add_argument(
        "--width", type=whole(1), default=64, help="of the network (default %(default)s)"
    )
    added.add_argument(
        "--depth", type=whole(1), default=3, help="of the network (default %(default)s)"
    )
    added.add_argument(
        "--latent", type=whole(1), metavar="N", help="train a score of N latent coordinates instead"
    )
    added.add_argument(
        "--teacher",
        type=Path,
        metavar="FILE",
        help="a score of these draws: train a consistency model of it, which draws in one call",
    )
    add_seed(added)
    added.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FOLDER",
        help="keep checkpoints there, and resume from there",
    )
    add_output(added, "score.eqx")


def _check_fit(args: argparse.Namespace) -> None:
    check_output(args.out)
    check_files([args.draws])
    if args.teacher is not None and args.latent is not None:
        raise BadInput("give --teacher or --latent, not both: distil the score of codes in Python")
    if args.teacher is not None and not args.teacher.is_file():
        raise BadInput(f"there is no file {args.teacher}; numpyro-score fit writes one")


def generate(commands: Any) -> None:
    """Declare `generate`."""
    text = "Draw from a score that numpyro-score fit trained."
    added = add_command(commands, "generate", "generating", _check_generate, text)
    added.add_argument(
        "score", type=Path, metavar="FILE", help="a model that numpyro-score fit or save() wrote"
    )
    added.add_argument(
        "--sampler", choices=SAMPLER_STEPS, default="reverse_sde", help="(default %(default)s)"
    )
    added.add_argument(
        "--num", type=whole(1), default=1000, help="number of draws (default %(default)s)"
    )
    defaults = ", ".join(f"{name} {steps}" for name, steps in SAMPLER_STEPS.items())
    added.add_argument(
        "--steps", type=whole(1), help=f"of the sampler, over all levels (default: {defaults})"
    )
    added.add_argument(
        "--denoise",
        action="store_true",
        help="end with E[x_0 | x_t], which removes the noise that is left",
    )
    added.add_argument(
        "--batch-size",
        type=whole(1),
        metavar="N",
        help="draws that are computed at once, to bound memory",
    )
    add_seed(added)
    add_output(added, "draws.nc")


def _check_generate(args: argparse.Namespace) -> None:
    check_suffix(args.out)
    check_output(args.out)
    if not args.score.is_file():
        raise BadInput(f"there is no file {args.score}; numpyro-score fit writes one")

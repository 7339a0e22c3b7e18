"""`numpyro-score fit`: train a score on the draws in a file and keep it in another."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from numpyro_score.cli.common import (
    INTERRUPTED,
    BadInput,
    checking,
    say,
)
from numpyro_score.diagnostics.files import read_draws
from numpyro_score.diagnostics.posterior import posterior
from numpyro_score.latent import LatentScore, fit_latent
from numpyro_score.training import fit_consistency, fit_score, load, save


def do(args: argparse.Namespace) -> int:
    """Train, and write the score."""
    with checking():
        data = posterior(read_draws(args.draws))
        names = args.variable or [name for name in data if data[name].dtype.kind == "f"]
        missing = [name for name in names if name not in data]
        if missing:
            raise BadInput(
                f"{args.draws} has no variable {', '.join(missing)}; it has "
                f"{', '.join(map(str, data))}"
            )
        if not names:
            raise BadInput(
                f"{args.draws} has no variable of real numbers to fit to; it has "
                f"{', '.join(map(str, data)) or 'none'}"
            )
        train, what = _training(args)
        model, history = train(
            data[list(dict.fromkeys(names))],
            rng_key=jax.random.key(args.seed),
            num_steps=args.steps,
            batch_size=args.batch_size,
            checkpoint=args.checkpoint,
            progress=args.progress,
        )
    variables = history.attrs["variables"]
    about = {"variables": variables, "draws": args.draws.name}
    path = save(model, args.out, about | {"steps": history.attrs["num_steps"]})
    if history.attrs["stopped"] != "finished":
        say(f"training stopped after {history.attrs['num_steps']} steps of {args.steps}")
    print(f"The {what} of {', '.join(variables)} is at {path}")
    if isinstance(model, LatentScore):
        print(
            f"Reconstruction error: {model.error.rmse:.3g}, a share {model.error.unexplained:.2g} "
            "of the variance; draws cannot be better than that"
        )
    return INTERRUPTED if history.attrs["stopped"] == "interrupted" else 0


def _training(args: argparse.Namespace) -> tuple[Callable[..., Any], str]:
    """What trains the model that was asked for, and what it is."""
    if args.teacher is not None:
        return partial(fit_consistency, teacher=load(args.teacher)), "consistency model"
    if args.latent is not None:
        options = {"latent": args.latent, "width": args.width, "depth": args.depth}
        return partial(fit_latent, **options), f"score of {args.latent} latent coordinates"
    return partial(fit_score, width=args.width, depth=args.depth), "score"

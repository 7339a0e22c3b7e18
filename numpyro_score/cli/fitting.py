"""`numpyro-score fit`: train a score on the draws in a file and keep it in another."""

import argparse

import jax

from numpyro_score.cli.common import (
    INTERRUPTED,
    BadInput,
    checking,
    say,
)
from numpyro_score.diagnostics.draws import posterior
from numpyro_score.diagnostics.files import read_draws
from numpyro_score.noise import VE, ladder_from_data
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training import fit, save
from numpyro_score.training.data import as_points
from numpyro_score.training.losses import ContinuousDenoising


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
        points = as_points(data[list(dict.fromkeys(names))])
        ladder = ladder_from_data(points.arrays)
        key_model, key_fit = jax.random.split(jax.random.key(args.seed))
        model = ScoreNetwork(
            ResidualMLP(
                points.arrays.shape[1:], width=args.width, depth=args.depth, rng_key=key_model
            ),
            VE(float(ladder.sigmas[-1]), float(ladder.sigmas[0])),
            points.arrays,
        )
        model, history = fit(
            model,
            points.arrays,
            ContinuousDenoising(),
            rng_key=key_fit,
            num_steps=args.steps,
            batch_size=args.batch_size,
            checkpoint=args.checkpoint,
            progress=args.progress,
        )
    about = {"variables": list(points.variables), "draws": args.draws.name}
    path = save(model, args.out, about | {"steps": history.attrs["num_steps"]})
    if history.attrs["stopped"] != "finished":
        say(f"training stopped after {history.attrs['num_steps']} steps of {args.steps}")
    print(f"The score of {', '.join(points.variables)} is at {path}")
    return INTERRUPTED if history.attrs["stopped"] == "interrupted" else 0

"""`numpyro-score fit`: train a score on the draws in a file and keep it in another."""

import argparse

import jax

from numpyro_score.cli.common import (
    INTERRUPTED,
    BadInput,
    checking,
    say,
)
from numpyro_score.diagnostics.files import read_draws
from numpyro_score.diagnostics.posterior import posterior
from numpyro_score.training import fit_score, save


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
        model, history = fit_score(
            data[list(dict.fromkeys(names))],
            rng_key=jax.random.key(args.seed),
            width=args.width,
            depth=args.depth,
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
    print(f"The score of {', '.join(variables)} is at {path}")
    return INTERRUPTED if history.attrs["stopped"] == "interrupted" else 0

"""`numpyro-score calibrate`: simulation-based calibration of a kernel on a user's own model."""

import argparse
import warnings

import jax

from numpyro_score import plugins
from numpyro_score.calibration import posterior_sbc, sbc
from numpyro_score.cli.common import BadInput, checking, say, use_cache
from numpyro_score.cli.inputs import check_arguments, load_data
from numpyro_score.comparison import find_kernel


def do(args: argparse.Namespace) -> int:
    """Calibrate, print the verdict and write the report."""
    use_cache(args.cache)
    with checking():
        kernel = find_kernel(args.kernel)
        data = load_data(args.data)
        model = plugins.load_model(args.model)
    check_arguments(model, data, args.model)
    calibrate = posterior_sbc if args.posterior else sbc
    try:
        with warnings.catch_warnings():
            # the problems are printed below
            warnings.simplefilter("ignore", UserWarning)
            found = calibrate(
                model,
                kernel,
                jax.random.key(args.seed),
                model_kwargs=data,
                num_simulations=args.simulations,
                num_warmup=args.warmup,
                num_samples=args.samples,
                num_chains=args.chains,
                alpha=args.alpha,
                store=args.store,
                progress=args.progress,
            )
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(str(error)) from error
    for problem in found.problems:
        say(f"{problem}.")
    path = found.to_html(args.out, title=f"Calibration of {args.kernel} on {args.model}")
    print(found.verdict)
    print(f"The report is at {path}")
    return 0

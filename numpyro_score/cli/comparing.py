"""`numpyro-score compare`: kernels on targets, and a report about them."""

import argparse

import jax

from numpyro_score.cli.common import (
    ALL_FAILED,
    INTERRUPTED,
    BadInput,
    checking,
    limit_of,
    say,
    use_cache,
)
from numpyro_score.comparison import compare, find_target
from numpyro_score.comparison.lookup import find_sampler


def do(args: argparse.Namespace) -> int:
    """Run what is asked for and write the report."""
    use_cache(args.cache)
    with checking():
        kernels = {name: find_sampler(name) for name in args.kernel}
        targets = [find_target(name) for name in dict.fromkeys(args.target)]
    try:
        comparison = compare(
            kernels,
            targets,
            jax.random.key(args.seed),
            num_warmup=args.warmup,
            num_samples=args.samples,
            num_chains=args.chains,
            budget=limit_of(args.budget),
            num_seeds=args.seeds,
            num_processes=args.jobs,
            store=args.store,
            resume=args.resume,
            with_pictures=args.jobs > 1,
            progress=args.progress,
        )
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(str(error)) from error
    if not comparison.runs and not comparison.is_complete:
        say("interrupted before the first run ended; no report is written")
        return INTERRUPTED
    path = comparison.to_html(args.out, progress=args.progress)
    failed = comparison.table[comparison.table["failure"] != ""]
    for (target, kernel), failure in failed["failure"].items():
        say(f"{kernel} on {target}: {failure}")
    print(f"The report is at {path}")
    if not comparison.is_complete:
        return INTERRUPTED
    return 0 if comparison.runs else ALL_FAILED

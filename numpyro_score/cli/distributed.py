"""Runs on several processes, which JAX connects."""

import argparse

import jax
from jax.extend.backend import clear_backends

from numpyro_score.cli.common import BadInput, whole


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Options of a run that is spread over processes."""
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="one of several processes of a cluster that JAX knows (SLURM and the like)",
    )
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where the first process listens"
    )
    parser.add_argument("--num-processes", type=whole(1), metavar="N", help="processes in all")
    parser.add_argument(
        "--process-id", type=whole(0), metavar="I", help="which one this is, from 0"
    )


def join_processes(args: argparse.Namespace) -> None:
    """Connect to the other processes, if there are to be any.

    Raises
    ------
    BadInput
        If the options do not belong together, or no cluster is found.
    """
    places = (args.coordinator, args.num_processes, args.process_id)
    if not args.distributed:
        if any(place is not None for place in places):
            raise BadInput("--coordinator, --num-processes and --process-id need --distributed")
        return
    if len({place is None for place in places}) > 1:
        raise BadInput(
            "give all of --coordinator, --num-processes and --process-id, or none of them where "
            "the cluster tells"
        )
    # an import has started the backend of a lone process
    clear_backends()
    try:
        jax.distributed.initialize(*places)
    except (ValueError, RuntimeError) as error:
        raise BadInput(
            f"the processes cannot be connected ({error}); outside of a cluster that JAX knows "
            "give --coordinator HOST:PORT --num-processes N --process-id I"
        ) from error


def is_first() -> bool:
    """Whether this process speaks for all."""
    return jax.process_index() == 0

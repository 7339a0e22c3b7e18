"""Runs on several processes, which JAX connects."""

import argparse

import jax
from jax.extend.backend import clear_backends

from numpyro_score.cli.common import BadInput


def join_processes(args: argparse.Namespace) -> None:
    """Connect to the other processes, if there are to be any.

    Raises
    ------
    BadInput
        If no cluster is found.
    """
    places = (args.coordinator, args.num_processes, args.process_id)
    if not args.distributed:
        return
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

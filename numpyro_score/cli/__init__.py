"""The command `numpyro-score`: a file for each of its commands.

Names of kernels and targets exist here and in the entry points only. What is wrong with what was
typed is found out before sampling, said in a line, and ends with status 2.
"""

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from numpyro_score.cli import comparing, diagnosing, fitting, generating, listing, running
from numpyro_score.cli.common import BAD_INPUT, INTERRUPTED, BadInput, say

COMMANDS = (listing, comparing, running, diagnosing, fitting, generating)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="numpyro-score", description="Run, compare and diagnose Markov kernels."
    )
    parser.add_argument("--version", action="version", version=version("numpyro-score"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        What was typed after the command's name; by default that of this process.

    Returns
    -------
    0; 2 where what was typed cannot be done; 130 after an interrupt.

    Examples
    --------
    >>> main(["diagnose", "no_such_file.nc"])  # the reason goes to stderr
    2
    """
    args = _parser().parse_args(argv)
    try:
        return args.do(args)
    except BadInput as error:
        say(f"numpyro-score {args.command}: error: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED

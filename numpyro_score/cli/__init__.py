"""The command `numpyro-score`: what can be typed (`options.py`), and a file for each command.

Names of kernels and targets exist here and in the entry points only. What is wrong with what was
typed is found out before sampling, said in a line, and ends with status 2.
"""

from collections.abc import Sequence
from importlib import import_module

from numpyro_score.cli.common import BAD_INPUT, INTERRUPTED, BadInput, checking, say
from numpyro_score.cli.options import make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        What was typed after the command's name; by default that of this process.

    Returns
    -------
    0; 1 if every run of a comparison failed; 2 where what was typed cannot be done; 130 after an
    interrupt.

    Examples
    --------
    >>> main(["diagnose", "no_such_file.nc"])  # the reason goes to stderr
    2
    """
    args = make_parser().parse_args(argv)
    try:
        with checking():
            args.check(args)
        return import_module(args.run_by).do(args)
    except BadInput as error:
        say(f"numpyro-score {args.command}: error: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED

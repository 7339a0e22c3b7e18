"""`numpyro-score list`: the kernels and targets that are installed."""

import argparse
import textwrap
from importlib.metadata import EntryPoint

from numpyro_score import plugins
from numpyro_score.cli.docstrings import docstring


def do(args: argparse.Namespace) -> int:
    """Print a line about each."""
    del args
    for title, group in (("kernels", plugins.KERNELS), ("targets", plugins.TARGETS)):
        print(f"{title}:")
        for name, entry in plugins.registered(group).items():
            print(f"  {name:24}{_summary(group, entry)}")
    return 0


def _summary(group: str, entry: EntryPoint) -> str:
    """First sentence of the docstring; what cannot be read off the source is imported."""
    try:
        doc = docstring(entry.value) or plugins.load(group, entry.name).__doc__ or ""
    except ImportError as error:
        doc = f"cannot be used: {error}"
    first = doc.strip().split("\n\n")[0].split(". ")[0].replace("*", "").replace("`", "")
    return textwrap.shorten(first, 100, placeholder=" ...")

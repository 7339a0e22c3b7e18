"""`numpyro-score list`: the kernels and targets that are installed."""

import argparse
import inspect
import textwrap
from typing import Any

from numpyro_score import plugins
from numpyro_score.cli.common import add_command


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    add_command(commands, "list", _list, "Name the kernels and targets that are installed.")


def _list(args: argparse.Namespace) -> int:
    del args
    for title, group in (("kernels", plugins.KERNELS), ("targets", plugins.TARGETS)):
        print(f"{title}:")
        for name in plugins.registered(group):
            try:
                doc = inspect.getdoc(plugins.load(group, name)) or ""
            except ImportError as error:
                doc = f"cannot be used: {error}"
            first = doc.split("\n\n")[0].split(". ")[0].replace("*", "").replace("`", "")
            print(f"  {name:24}{textwrap.shorten(first, 100, placeholder=' ...')}")
    return 0

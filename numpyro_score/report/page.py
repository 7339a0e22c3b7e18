"""One self-contained HTML file from a template: nothing fetched, every name escaped."""

import os
import tempfile
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

LIBRARIES = ("numpyro-score", "numpyro", "blackjax", "jax", "arviz-stats")
"""Distributions whose versions are named at the end of the page."""


@cache
def _environment() -> Environment:
    # autoescape for every template: names of sites come from users
    return Environment(
        loader=PackageLoader("numpyro_score.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **context: Any) -> str:
    """The page.

    Parameters
    ----------
    template
        A file of `templates/`.
    **context
        What it shows.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return _environment().get_template(template).render(versions=versions, date=date, **context)


def write(html: str, path: str | Path) -> Path:
    """Write a page; an existing file is replaced when the new page is complete.

    Parameters
    ----------
    html
        The page.
    path
        Where to, in a folder that exists.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path).absolute()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(html)
        # a temporary file is private to its owner; a page has the usual permissions
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path

"""Optional packages: the error of a missing one names the extra that installs it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, package: str, purpose: str) -> Iterator[None]:
    """Context in which a failed import of `package` raises an error that says how to install it.

    Parameters
    ----------
    name
        The extra of this package that brings it.
    package
        What is imported.
    purpose
        What it is needed for: the beginning of a sentence.

    Raises
    ------
    ImportError
        If the package is not installed.

    Examples
    --------
    >>> with extra("ode", "no_such_package", "adaptive steps need"):
    ...     import no_such_package
    Traceback (most recent call last):
    ImportError: adaptive steps need no_such_package: pip install 'numpyro-score[ode]'
    """
    try:
        yield
    except ImportError as error:
        if package not in str(error):
            raise
        raise ImportError(
            f"{purpose} {package}: pip install 'numpyro-score[{name}]'", name=package
        ) from error

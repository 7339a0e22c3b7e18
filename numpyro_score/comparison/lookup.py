"""Kernels and targets by name, or as they are given."""

from collections.abc import Callable
from typing import Any

from numpyro_score import plugins
from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.jobs import Comparable, KernelFactory
from numpyro_score.targets import Target


def find_kernel(kernel: str | KernelFactory) -> KernelFactory:
    """The function itself, or the one of that name.

    Parameters
    ----------
    kernel
        A function from a model to a kernel, a name of the entry-point group
        `numpyro_score.kernels`, or `package.module:name` or `file.py:name` of a user's own.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> find_kernel("numpyro.infer:NUTS").__name__
    'NUTS'
    """
    if not isinstance(kernel, str):
        return kernel
    if ":" in kernel:
        return plugins.load_model(kernel)
    return plugins.load(plugins.KERNELS, kernel)


def find_sampler(kernel: str | Comparable) -> Comparable:
    """As `find_kernel`; `package.module:name` may also be a third-party algorithm.

    Parameters
    ----------
    kernel
        What is compared, or its name.

    Raises
    ------
    ValueError, FileNotFoundError
        As `find_kernel`.

    Examples
    --------
    >>> find_sampler("numpyro_score.comparison.external:blackjax_nuts").is_exact
    True
    """
    if isinstance(kernel, str) and ":" in kernel:
        found = plugins.load_attribute(kernel, "kernel")
        if isinstance(found, ExternalSampler):
            return found
    return kernel if isinstance(kernel, ExternalSampler) else find_kernel(kernel)


def find_target(target: str | Target) -> Target:
    """The target itself, or the one that is registered under its name.

    Parameters
    ----------
    target
        A `Target`, a name of the entry-point group `numpyro_score.targets`, or
        `package.module:name` or `file.py:name` of a user's own: a `Target`, or a function without
        arguments that makes one.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.
    FileNotFoundError
        If there is no such file.
    TypeError
        If it is neither a name nor a `Target`, or what it names makes none.

    Examples
    --------
    >>> from numpyro_score.targets import two_modes
    >>> find_target(two_modes()).name
    'two_modes'
    """
    if isinstance(target, str) and ":" in target:
        found = plugins.load_attribute(target, "target")
        is_made = callable(found) and not isinstance(found, Target)
        target = _made(found, target) if is_made else found
    elif isinstance(target, str):
        target = plugins.load(plugins.TARGETS, target)()
    if not isinstance(target, Target):
        raise TypeError(
            f"a target must be a name or a numpyro_score.targets.Target, got "
            f"{type(target).__name__}; a model and its data become one with ModelTarget"
        )
    return target


def _made(make: Callable[[], object], name: str) -> Any:
    """What the function of a user's own makes.

    Raises
    ------
    TypeError
        If it cannot be called so, as a model that was named in place of a target.
    """
    try:
        return make()
    except Exception as error:
        raise TypeError(
            f"{name}, called without arguments, failed ({type(error).__name__}: {error}); a target "
            "is a Target, or a function without arguments that makes one: a model and its data "
            "become one with ModelTarget"
        ) from error

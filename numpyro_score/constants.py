"""What a program of a kernel has compiled in, compared by value."""

import copy
from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import numpy as np
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.fingerprint import fingerprint


class Constants:
    """What a program has compiled in: a model's arguments and the functions that are sampled.

    The arguments are constants, as in `numpyro.infer.MCMC`, because models use their shapes and
    values in plain Python. They are compared by value: data that were changed in place between two
    runs are compiled anew, and so are a model whose closure or globals were changed, and a kernel
    whose settings were.

    Parameters
    ----------
    kernel
        The NumPyro kernel.
    args, kwargs
        What its model is called with.
    """

    def __init__(
        self, kernel: MCMCKernel, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.args = args
        self.kwargs = dict(kwargs)
        self.fingerprint = fingerprint(args, self.kwargs)
        # what it has set itself is not looked at: NumPyro's kernels do so when they are initialized
        parts = getattr(kernel, "settings", None)
        self._key = (self.fingerprint, fingerprint(given_density(kernel), parts))

    def split(self) -> tuple[Self, Any]:
        """The same without the arrays among the arguments, and the arrays.

        A program that gets the arrays when it runs serves all arrays of their shapes and types.
        """
        arrays, rest = eqx.partition((self.args, self.kwargs), _is_array)
        return self._with(rest, (fingerprint(rest), self._key[1])), arrays

    def bound(self, arrays: Any) -> Self:
        """The arguments with `arrays`, which may be traced, in their places; None for none."""
        if arrays is None:
            return self
        return self._with(eqx.combine(arrays, (self.args, self.kwargs)), self._key)

    def _with(self, arguments: Any, key: tuple[str, str]) -> Self:
        new = copy.copy(self)
        new.args, new.kwargs = arguments
        new._key = key
        return new

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constants) and self._key == other._key


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array) or (isinstance(x, np.ndarray) and x.dtype.kind in "biufc")


def given_density(kernel: MCMCKernel) -> Any:
    """What the user gave a kernel to sample: a model, or a function in its place.

    Parameters
    ----------
    kernel
        Any NumPyro kernel; None is returned for one that says neither.
    """
    model = getattr(kernel, "model", None)
    if model is not None:
        return model
    problem = getattr(kernel, "_problem", None)
    return getattr(problem, "given", getattr(kernel, "_potential_fn", None))

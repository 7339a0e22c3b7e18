"""Options of the warmup, for every kernel in one place, and the warmup that they ask for."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import jax.numpy as jnp
import numpy as np

from numpyro_score.adaptation.metric import fisher, sample_covariance
from numpyro_score.adaptation.pooled import PooledWarmup, pooled_warmup
from numpyro_score.hints import no_such_argument
from numpyro_score.kernels.signature import Algorithm
from numpyro_score.preconditioner import (
    Preconditioner,
    as_preconditioner,
    check_inverse_mass_matrix,
)
from numpyro_score.step_size import check_step_size

DEFAULT_STEP_SIZE = 0.1
"""Where the search for a step size starts if nothing is known of the kernel."""


class PreconditionerOptions(TypedDict, total=False):
    """Options that concern the preconditioner `P`, by name; all may be left out.

    Attributes
    ----------
    inverse_mass_matrix
        `P`, a number, shape `(dim,)` or `(dim, dim)` over the raveled position: where warmup
        starts, or what is used if it is not adapted. By default found from the gradients at the
        starting points.
    adapt_mass_matrix
        Whether warmup learns `P`; by default wherever the kernel has one.
    dense_mass
        Whether `P` is a full matrix; by default a diagonal.
    restart_stuck_chains
        Whether, in warmup, a chain whose log density is far below the others', or which accepts
        nothing where they do, restarts from another chain's position; by default it does. Switch it
        off where modes that count differ in log density by more than ten times the spread of the
        chains in the higher one, or by more than `10 dim`.

    Examples
    --------
    >>> from numpyro_score.infer import ULA
    >>> options = PreconditionerOptions(dense_mass=True)
    >>> ULA(logdensity_fn=lambda x: -(x @ x), **options).settings["is_dense"]
    True
    """

    inverse_mass_matrix: Any
    adapt_mass_matrix: bool | None
    dense_mass: bool
    restart_stuck_chains: bool


class WarmupOptions(PreconditionerOptions, total=False):
    """Options of the warmup that kernels take by name; all may be left out.

    Names are as in `numpyro.infer.HMC` where it has them.

    Attributes
    ----------
    inverse_mass_matrix, adapt_mass_matrix, dense_mass, restart_stuck_chains
        As in `PreconditionerOptions`.
    step_size
        Where warmup starts, or what is used if it is not adapted. By default the best one for a
        target whose covariance is `P`, where that is known, else .1.
    adapt_step_size
        Whether warmup learns the step size; by default wherever the kernel has one.
    target_accept_prob
        Acceptance probability that the step size is tuned to; by default the kernel's best.

    Examples
    --------
    >>> from numpyro_score.infer import MALA
    >>> options = WarmupOptions(dense_mass=True, target_accept_prob=0.6)
    >>> MALA(logdensity_fn=lambda x: -(x @ x), **options).target_accept_prob
    0.6
    """

    step_size: float | None
    adapt_step_size: bool | None
    target_accept_prob: float | None


class Tuning(NamedTuple):
    """Which parameters start where, and which of them warmup learns.

    Attributes
    ----------
    algorithm
        The kernel that is tuned.
    step_size, inverse_mass_matrix
        As given, or None.
    adapt_step_size, adapt_mass_matrix
        What warmup learns.
    is_dense
        Whether `P` is a full matrix.
    target_accept_prob
        Acceptance that the step size is tuned to.
    restart_stuck_chains
        Whether chains that are stuck restart, in warmup.
    """

    algorithm: Algorithm
    step_size: Any
    inverse_mass_matrix: Any
    adapt_step_size: bool
    adapt_mass_matrix: bool
    is_dense: bool
    target_accept_prob: float
    restart_stuck_chains: bool

    @property
    def is_adapting(self) -> bool:
        """Whether warmup learns anything."""
        shared = self.adapt_step_size or self.adapt_mass_matrix
        own = self.algorithm.can_adapt_friction or self.algorithm.can_adapt("mean_num_steps")
        return shared or own

    def first_step_size(self, dim: int) -> float:
        """Step size to start from: as given, else the best one for a good preconditioner."""
        if self.step_size is not None:
            return self.step_size
        optimal = self.algorithm.facts.optimal_step_size
        return DEFAULT_STEP_SIZE if optimal is None else optimal(max(dim, 1))

    def first_preconditioner(self, dim: int, dtype: Any) -> Preconditioner | None:
        """`P` to start from: as given; None where warmup is to find it; else the identity."""
        given = self.inverse_mass_matrix
        if given is None and self.adapt_mass_matrix:
            return None
        given = jnp.asarray(1.0 if given is None else given, dtype)
        given = jnp.broadcast_to(given, given.shape or (dim,))
        return as_preconditioner(jnp.diag(given) if self.is_dense and given.ndim < 2 else given)

    def warmup(self, *, has_grad: bool) -> PooledWarmup:
        """The warmup's functions, for a kernel with or without gradients."""
        return pooled_warmup(
            target_acceptance_rate=self.target_accept_prob,
            estimator=fisher if has_grad else sample_covariance,
            is_dense=self.is_dense,
            optimal_step_size=self.algorithm.facts.optimal_step_size,
            # a kernel that runs in warmup only tunes its step size for itself
            adapt_step_size=self.adapt_step_size or self.algorithm.warmup_api is not None,
            adapt_mass_matrix=self.adapt_mass_matrix,
            restart_stuck_chains=self.restart_stuck_chains,
            adapt_trajectory=self.algorithm.can_adapt("mean_num_steps"),
            adapt_friction=self.algorithm.can_adapt_friction,
        )


def check_options(
    kernel: type,
    options: Mapping[str, Any],
    known: Collection[str] = WarmupOptions.__optional_keys__,
) -> None:
    """Check the names of what a kernel was given besides its own arguments.

    Parameters
    ----------
    kernel
        The class of the kernel.
    options
        What was given by name, its own arguments left out.
    known
        Options that it takes.

    Raises
    ------
    TypeError
        If one is unknown, with the name that may be meant, and all names.

    Examples
    --------
    >>> from numpyro_score.infer import MAMS
    >>> check_options(MAMS, {"local_stepsize": True})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: MAMS has no argument 'local_stepsize'; did you mean 'local_step_size'? It has ...
    """
    parameters = inspect.signature(kernel).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = [parameter.name for parameter in parameters if parameter.kind in named]
    _check_names(kernel.__name__, options, own, known)


def _check_names(
    owner: str, options: Mapping[str, Any], own: Sequence[str], known: Collection[str]
) -> None:
    for name in options:
        if name not in known:
            names = [*own, *sorted(known)]
            raise TypeError(f"{no_such_argument(owner, name, names)} It has {', '.join(names)}.")


def make_tuning(algorithm: Algorithm, options: Mapping[str, Any]) -> Tuning:
    """Check the options of a kernel's warmup.

    Parameters
    ----------
    algorithm
        The kernel. A step size or inverse mass matrix among its parameters is fixed.
    options
        `WarmupOptions`.

    Raises
    ------
    ValueError, TypeError
        If one is unknown or cannot be used, with what to give instead.
    """
    _check_names("the warmup", options, (), WarmupOptions.__optional_keys__)
    step_size = options.get("step_size")
    inverse_mass_matrix = options.get("inverse_mass_matrix")
    dense_mass = options.get("dense_mass", False)
    target_accept_prob = options.get("target_accept_prob")
    step_size = algorithm.parameters.get("step_size", step_size)
    inverse_mass_matrix = algorithm.parameters.get("inverse_mass_matrix", inverse_mass_matrix)
    if step_size is not None:
        check_step_size(step_size)
    if not isinstance(dense_mass, bool) or isinstance(inverse_mass_matrix, Mapping):
        raise TypeError(
            "dense_mass must be True or False and inverse_mass_matrix an array over the raveled "
            "position: blocks of sites are not supported; use dense_mass=True for one matrix over "
            "all sites."
        )
    check_inverse_mass_matrix(inverse_mass_matrix, dim=None)
    best = algorithm.facts.target_acceptance_rate
    target_accept_prob = best if target_accept_prob is None else target_accept_prob
    if not 0 < target_accept_prob < 1:
        raise ValueError(
            f"target_accept_prob is {target_accept_prob}, but must lie between 0 and 1; {best} is "
            "this kernel's default."
        )
    return Tuning(
        algorithm,
        step_size,
        inverse_mass_matrix,
        _whether_to_adapt(algorithm, "step_size", options.get("adapt_step_size")),
        _whether_to_adapt(algorithm, "inverse_mass_matrix", options.get("adapt_mass_matrix")),
        dense_mass or np.ndim(inverse_mass_matrix) == 2,
        target_accept_prob,
        options.get("restart_stuck_chains", True),
    )


def _whether_to_adapt(algorithm: Algorithm, name: str, wish: bool | None) -> bool:
    can = algorithm.can_adapt(name)
    if wish and not can:
        raise ValueError(
            f"{name} cannot be adapted: the kernel has no such argument, or it is fixed in "
            "parameters; leave out one of the two requests."
        )
    return can if wish is None else wish

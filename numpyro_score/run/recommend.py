"""The kernel that `sample` chooses for a model or a log density.

The rule, by the number of coordinates `d`:

* `d = 1`: `MALA`, since `MAMS` needs two coordinates;
* `d >= 2`: `MAMS`, whose warmup learns the trajectory length from all chains: one step if the
  preconditioned posterior is nearly isotropic, dozens if it is not;
* the preconditioner is dense up to `d = MAX_DENSE`, and diagonal above, where there are too few
  draws to estimate a matrix;
* a run of it that cannot reach its goal, and in which a chain stayed at one place for long
  (`until.py`), is given up: the same kernel begins anew with a step size for every move, which
  funnels need and which costs several times the gradients.
"""

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer import NUTS
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.model_arguments import calling

MAX_DENSE = 100
"""Largest number of coordinates with a dense preconditioner."""
NUM_CHAINS = 64
"""Default number of chains of a kernel that was chosen here."""
NUM_WARMUP = 300
"""Default number of warmup steps of a kernel that was chosen here."""
MIN_POOLED = 4
"""Chains from which on a warmup that is pooled over them suffices; with fewer NUTS is chosen. 200
steps with one chain of `MAMS` left it a fifth of its efficiency, the median of eight posteriors."""
NUM_WARMUP_NUTS = 500
"""Default number of warmup steps of NUTS, where it was chosen here."""
MAX_SAMPLES = 4_000
"""Draws of each chain after which a run with `until` ends in any case."""


class Choice(NamedTuple):
    """A kernel, and the reason for it.

    Attributes
    ----------
    kernel
        The kernel to run.
    reason
        The rule that chose it, in words; None for a kernel that was given.
    otherwise
        Makes the kernel to run where this one stays at one place for long; None if there is none.
    spent
        Attributes of the run that say what was spent on a kernel that was given up.
    num_warmup
        Default number of warmup steps.
    """

    kernel: MCMCKernel
    reason: str | None
    otherwise: Callable[[], MCMCKernel] | None = None
    spent: Mapping[str, float | int] = {}
    num_warmup: int = NUM_WARMUP

    @property
    def num_chains(self) -> int | None:
        """Default number of chains; None for a kernel that was given."""
        return None if self.reason is None else NUM_CHAINS

    @property
    def attributes(self) -> dict[str, Any]:
        """What a run says of its kernel."""
        return {} if self.reason is None else {"kernel_choice": self.reason, **self.spent}

    def given_up(self, num_draws: int, spent: Mapping[str, float | int]) -> "Choice":
        """The choice after a run in which a chain stayed at one place for `num_draws` draws."""
        assert self.otherwise is not None
        reason = (
            f"{self.reason}, and a step size for every move: with one for all moves a chain "
            f"stayed at one place for {num_draws} draws, and the goal was out of reach"
        )
        return Choice(self.otherwise(), reason, None, spent)


class GivenUpError(Exception):
    """The run of a chosen kernel is given up, for another choice.

    Examples
    --------
    >>> from numpyro_score.infer import MALA
    >>> kernel = MALA(logdensity_fn=lambda x: -(x @ x), local_step_size=True)
    >>> raise GivenUpError(Choice(kernel, "MALA, and a step size for every move"))
    Traceback (most recent call last):
    numpyro_score.run.recommend.GivenUpError: MALA, and a step size for every move
    """

    def __init__(self, choice: Choice) -> None:
        super().__init__(choice.reason)
        self.choice = choice


def beginning_anew[**P, R](sample: Callable[P, R]) -> Callable[P, R]:
    """A `sample` that begins anew, with the other choice, where its kernel is given up.

    Parameters
    ----------
    sample
        Takes the kernel, or a `Choice`, first.
    """

    @wraps(sample)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return sample(*args, **kwargs)
        except GivenUpError as given_up:
            choice: Any = given_up.choice
        again: Any = sample
        if args:
            return again(choice, *args[1:], **kwargs)
        return again(**{**kwargs, "kernel": choice})

    return run


def choose(
    given: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    init_params: Any,
    num_chains: int | None = None,
) -> Choice:
    """The kernel that was given, or the recommended one of a model or a log density.

    Parameters
    ----------
    given
        A kernel, a choice that was made before, a NumPyro model or a log density. A callable is a
        log density if it returns one number when it is called with one of the positions in
        `init_params`.
    args, kwargs
        Arguments of a model.
    init_params
        Starting points with a leading chain axis, or None.
    num_chains
        As it was given; None for the default.

    Raises
    ------
    TypeError
        If `given` is none of these.
    ValueError
        If the model has no continuous latent sites.
    """
    if isinstance(given, Choice):
        return given
    if isinstance(given, MCMCKernel):
        return Choice(given, None)
    if isinstance(given, type) or not callable(given):
        shown = f"of type {type(given).__name__}" if isinstance(given, jax.Array) else repr(given)
        raise TypeError(
            f"kernel is {shown}, but must be a NumPyro kernel such as MALA(model), a NumPyro "
            "model, or a log density (with init_params); the key is the second argument."
        )
    if init_params is not None and not args and not kwargs:
        first = jax.tree.map(lambda x: x[0], init_params)
        if _is_number(given, first):
            return _for({"logdensity_fn": given}, ravel_pytree(first)[0].size, num_chains)
    return _for({"model": given}, _dimension(given, args, kwargs), num_chains)


def _is_number(given: Callable[..., Any], position: Any) -> bool:
    """Whether a function of the position returns one number; a model does not."""
    try:
        value = jax.eval_shape(given, position)
    except Exception:
        # a model cannot be called with a position, or not outside of a handler
        return False
    return getattr(value, "shape", None) == ()


def _dimension(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Unconstrained coordinates of a model."""
    # what looks at models is imported when there is one
    from numpyro_score.targets.numpyro_model import initialize

    def start(rng_key: Any) -> Any:
        return initialize(rng_key, model, args, dict(kwargs))[0]

    with calling(model, args, kwargs):
        position = jax.eval_shape(start, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(position))


def _for(target: Mapping[str, Any], dim: int, num_chains: int | None) -> Choice:
    from numpyro_score.infer import MALA, MAMS

    make: Callable[..., MCMCKernel]
    if isinstance(num_chains, int | np.integer) and 0 < num_chains < MIN_POOLED:
        return _few(target, dim)
    if dim < 2:
        make, reason = partial(MALA, **target), "MALA: one coordinate"
    elif dim <= MAX_DENSE:
        make, reason = partial(MAMS, **target, dense_mass=True), _reason("dense", dim)
    else:
        make, reason = partial(MAMS, **target), _reason("diagonal", dim)
    return Choice(make(), reason, partial(make, local_step_size=True))


def _few(target: Mapping[str, Any], dim: int) -> Choice:
    """NUTS, which learns from each chain alone."""
    density = target.get("logdensity_fn")
    what = target if density is None else {"potential_fn": lambda position: -density(position)}
    kernel = NUTS(**what, dense_mass=dim <= MAX_DENSE)
    reason = f"NUTS: fewer than {MIN_POOLED} chains, too few to pool the warmup of MAMS over"
    return Choice(kernel, reason, num_warmup=NUM_WARMUP_NUTS)


def _reason(kind: str, dim: int) -> str:
    return f"MAMS with a {kind} preconditioner: {dim} coordinates (dense up to {MAX_DENSE})"

"""A kernel that was chosen, why, and what takes its place if it does not suffice."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import xarray as xr
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.diagnostics.goal import BOUND
from numpyro_score.progress import Bar
from numpyro_score.run.check import PACKAGE, warn
from numpyro_score.run.forecast import Seen

NUM_CHAINS = 64
"""Default number of chains of a kernel that was chosen here."""
NUM_WARMUP = 300
"""Default number of warmup steps of a kernel that was chosen here."""


class Otherwise(NamedTuple):
    """What takes the place of a kernel that does not suffice.

    Attributes
    ----------
    fault
        Says from the draws so far why the kernel does not suffice; empty if it does.
    make
        Makes the kernel that takes its place.
    reason
        The rule that chooses it, to be followed by the fault.
    then
        What takes its place in turn; as `Choice.otherwise`.
    """

    fault: Callable[[Seen], str]
    make: Callable[[], MCMCKernel]
    reason: str
    then: "tuple[Otherwise, ...]" = ()


class Choice(NamedTuple):
    """A kernel, and the reason for it.

    Attributes
    ----------
    kernel
        The kernel to run.
    reason
        The rule that chose it, in words; None for a kernel that was given.
    otherwise
        What takes its place if it does not suffice: the first whose fault is found.
    spent
        Attributes of the run that say what was spent on kernels that were given up.
    num_warmup
        Default number of warmup steps.
    is_bound
        Whether others would take its place, if the run could restart.
    """

    kernel: MCMCKernel
    reason: str | None
    otherwise: tuple[Otherwise, ...] = ()
    spent: Mapping[str, float | int] = {}
    num_warmup: int = NUM_WARMUP
    is_bound: bool = False

    @property
    def num_chains(self) -> int | None:
        """Default number of chains; None for a kernel that was given."""
        return None if self.reason is None else NUM_CHAINS

    @property
    def attributes(self) -> dict[str, Any]:
        """What a run says of its kernel."""
        if self.reason is None:
            return {}
        bound = {BOUND: 1} if self.is_bound else {}
        return {"kernel_choice": self.reason, **bound, **self.spent}

    def check(self, seen: Seen, spent: Mapping[str, float | int]) -> None:
        """Whether to go on with this kernel.

        Parameters
        ----------
        seen
            What is known from the draws so far.
        spent
            Attributes that say what this run has cost so far.

        Raises
        ------
        GivenUpError
            If not: with the choice that takes the place of this one.
        """
        for other in self.otherwise:
            fault = other.fault(seen)
            if fault:
                total = {name: value + self.spent.get(name, 0) for name, value in spent.items()}
                reason = f"{other.reason}: {fault}"
                raise GivenUpError(Choice(other.make(), reason, other.then, total))


class GivenUpError(Exception):
    """The run of a chosen kernel is given up, for another choice.

    Attributes
    ----------
    choice
        What takes its place.
    finish
        Makes a result of what it drew, for the case that the other run fails.

    Examples
    --------
    >>> from numpyro_score.infer import MALA
    >>> kernel = MALA(logdensity_fn=lambda x: -(x @ x), local_step_size=True)
    >>> raise GivenUpError(Choice(kernel, "MALA, and a step size for every move"))
    Traceback (most recent call last):
    numpyro_score.run.choice.GivenUpError: MALA, and a step size for every move
    """

    def __init__(self, choice: Choice) -> None:
        super().__init__(choice.reason)
        self.choice = choice
        self.finish: Callable[[], xr.DataTree] | None = None


@contextmanager
def announcing(bar: Bar) -> Iterator[None]:
    """Within it the bar says with what a run that is given up restarts.

    Parameters
    ----------
    bar
        Progress bar of the run.
    """
    try:
        yield
    except GivenUpError as other:
        if bar.is_shown:
            bar.write(f"restarting with {other}")
        raise


def restarting[**P, R](sample: Callable[P, R]) -> Callable[P, R]:
    """A `sample` that restarts, with the other choice, where its kernel is given up.

    If that fails or is interrupted before its first draw, the result is that of the first run.

    Parameters
    ----------
    sample
        Takes the kernel, or a `Choice`, first.

    Warns
    -----
    UserWarning
        If the other run fails, or has no draws.
    """

    @wraps(sample)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return sample(*args, **kwargs)
        except GivenUpError as error:
            # its traceback would keep the buffers of the first run through the other one
            given_up = error.with_traceback(None)
        # what takes the place of a kernel has fewer others than it had
        again: Any = run
        tree: Any
        choice, finish = given_up.choice, given_up.finish
        try:
            if args:
                tree = again(choice, *args[1:], **kwargs)
            else:
                tree = again(**{**kwargs, "kernel": choice})
            if finish is None or "posterior" in tree.children:
                return tree
            failure = "interrupted before its first draw"
        except Warning:
            # the caller turns warnings into errors, and the run has not failed
            raise
        except (Exception, KeyboardInterrupt) as error:
            if finish is None:
                raise
            failure = ": ".join(filter(None, (type(error).__name__, str(error))))
        warnings.warn(
            f"the run that restarted with {choice.reason} failed ({failure}); the draws are those "
            "of the run that it was to replace",
            skip_file_prefixes=(PACKAGE,),
        )
        tree = finish()
        warn(tree, None)
        return tree

    return run

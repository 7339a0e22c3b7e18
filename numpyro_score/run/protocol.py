"""What `sample` asks of a kernel beyond NumPyro's protocol; each part is optional.

Any `numpyro.infer.mcmc.MCMCKernel` runs in `sample`. The results of a `DescribedKernel` are
labelled; a `BatchedKernel` runs all chains as one program and may pool its warmup over them; a
`LearningKernel` shows in the progress bar what it learns before the first step.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from numpyro.infer import AIES, ESS, HMC, SA, BarkerMH, DiscreteGibbs, Gibbs
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.progress import ProgressCallback
from numpyro_score.types import MapChains


@runtime_checkable
class DescribedKernel(Protocol):
    """A kernel that says what its draws are.

    Examples
    --------
    >>> from numpyro_score.infer import MALA
    >>> isinstance(MALA(logdensity_fn=lambda x: -(x @ x)), DescribedKernel)
    True
    """

    @property
    def exact(self) -> bool:
        """Whether the stationary distribution is the target: the attribute `exact` of a run."""
        ...

    @property
    def draws_are_independent(self) -> bool:
        """Whether a draw does not depend on the ones before it: `independent_draws` of a run."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the kernel was given, in plain values: a stored run is resumed only by the same."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Further attributes of a run, known once the kernel is initialized.

        Empty, or with `num_grad_training` and `seconds_training` among them: what was spent before
        the first step.
        """
        ...


@runtime_checkable
class BatchedKernel(Protocol):
    """A kernel of one chain for one key, and of a batch of chains for a batch of keys.

    `init` and `sample` take two arguments more than NumPyro's. `map_chains` makes a function of one
    chain one of all of them: with it a kernel runs in batches that fit the memory, or spread over
    devices. `is_frozen` says that the warmup is over, for a program without its branch.
    """

    @property
    def maps_chains(self) -> bool:
        """True: `init` and `sample` take a batch of keys, `map_chains` and `is_frozen`."""
        ...

    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = ...,
    ) -> Any:
        """State to start from."""
        ...

    def sample(
        self,
        state: Any,
        model_args: Any,
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = ...,
        is_frozen: bool = False,
    ) -> Any:
        """One step of every chain."""
        ...


@runtime_checkable
class LearningKernel(Protocol):
    """A kernel that learns of its target when it is initialized."""

    progress_callback: ProgressCallback | None


NUMPYRO_EXACT: tuple[type[MCMCKernel], ...] = (AIES, ESS, HMC, SA, BarkerMH, DiscreteGibbs)
"""NumPyro's kernels that leave the target invariant; NUTS is an HMC."""


def is_exact(kernel: MCMCKernel) -> bool | None:
    """Whether a kernel's stationary distribution is the target; None where that is not known.

    Known is what the kernel says (`exact`), what is known of NumPyro's own kernels, and of `Gibbs`
    whether all its blocks are exact.

    Examples
    --------
    >>> from numpyro.infer import NUTS, Gibbs
    >>> from numpyro_score.infer import ULA
    >>> def model():
    ...     pass
    >>> is_exact(NUTS(model)), is_exact(Gibbs([(NUTS(model), ["x"]), (ULA(model), ["y"])]))
    (True, False)
    """
    said = getattr(kernel, "exact", None)
    if said is not None:
        return bool(said)
    if isinstance(kernel, Gibbs):
        blocks = [is_exact(block) for block in kernel._kernels]
        return False if False in blocks else None if None in blocks else True
    return True if isinstance(kernel, NUMPYRO_EXACT) else None


@contextmanager
def reporting_progress(kernel: Any, callback: ProgressCallback) -> Iterator[None]:
    """While this lasts, a kernel that learns of its target reports its progress to a function."""
    if not isinstance(kernel, LearningKernel):
        yield
        return
    kernel.progress_callback = callback
    try:
        yield
    finally:
        kernel.progress_callback = None

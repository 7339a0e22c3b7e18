"""A kernel's functions under BlackJAX's names, without importing BlackJAX.

BlackJAX takes longer to import than the rest of a kernel's code, and starts JAX's backend. A kernel
that runs in NumPyro's protocol needs its functions alone; the `blackjax.GenerateSamplingAPI` that
BlackJAX's users expect is made of them when it is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import blackjax


@runtime_checkable
class KernelApi(Protocol):
    """What is needed of a kernel to step it: ours, `blackjax.GenerateSamplingAPI`, or a module."""

    @property
    def init(self) -> Callable[..., Any]:
        """`(position, logdensity_fn, ...) -> state`."""
        ...

    @property
    def build_kernel(self) -> Callable[..., Callable[..., Any]]:
        """`() -> kernel`."""
        ...


class WarmupKernel(NamedTuple):
    """A kernel that runs in warmup in place of another one over the same state.

    Attributes
    ----------
    init, build_kernel
        As of `MarkovKernel`.
    """

    init: Callable[..., Any]
    build_kernel: Callable[..., Callable[..., Any]]


@dataclass(frozen=True)
class MarkovKernel:
    """A kernel's functions, with the fields of `blackjax.GenerateSamplingAPI`.

    Attributes
    ----------
    differentiable
        `(logdensity_fn, **parameters) -> blackjax.SamplingAlgorithm`.
    init
        `(position, logdensity_fn, ...) -> state`.
    build_kernel
        `() -> kernel`, and `kernel(rng_key, state, logdensity_fn, ...) -> (state, info)`.
    """

    differentiable: Callable[..., Any]
    init: Callable[..., Any]
    build_kernel: Callable[..., Callable[..., Any]]

    def __call__(self, *args: Any, **kwargs: Any) -> "blackjax.SamplingAlgorithm":
        """Bind the kernel to a density and its parameters."""
        return self.differentiable(*args, **kwargs)

    def for_blackjax(self) -> "blackjax.GenerateSamplingAPI":
        """The same functions as BlackJAX's own type; imports BlackJAX."""
        from blackjax import GenerateSamplingAPI

        return GenerateSamplingAPI(self.differentiable, self.init, self.build_kernel)

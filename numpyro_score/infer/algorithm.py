"""A BlackJAX-protocol kernel as the adapter sees it: one chain, arguments found by their names.

BlackJAX's kernels differ in what their `init` and their step ask for and in what they report, so
the signatures are read: an argument named `step_size` or `inverse_mass_matrix` can be adapted,
`rng_key` in `init` is given a key, and everything else has to come from the user.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from numpyro_score.kernels.api import KernelApi
from numpyro_score.preconditioner import Preconditioner
from numpyro_score.types import LogDensityFn, Position, RngKey

ADAPTED = ("step_size", "inverse_mass_matrix")
"""Kernel arguments that warmup can learn."""


class Algorithm(NamedTuple):
    """A kernel, its fixed parameters, and what its signature does not tell.

    Attributes
    ----------
    api
        The kernel, in BlackJAX's protocol.
    parameters
        Values of its further arguments, shared by `init` and step.
    is_exact
        Whether its invariant law is the target.
    target_acceptance_rate
        Acceptance at which it is most efficient.
    optimal_step_size
        dim -> step size that is right for a target of covariance `P`; None if not known.
    warmup_api
        Kernel over the same state that runs in warmup instead, where this one cannot tune
        itself; None for this one.
    takes_factored
        Whether the kernel accepts a `Preconditioner` as `inverse_mass_matrix`.
    num_grad
        Gradients evaluated a step; None to read it off info and state.
    """

    api: KernelApi
    parameters: Mapping[str, Any]
    is_exact: bool = True
    target_acceptance_rate: float = 0.8
    optimal_step_size: Callable[[int], float] | None = None
    warmup_api: KernelApi | None = None
    takes_factored: bool = False
    num_grad: int | None = None

    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """Arguments of the kernel after `(rng_key, state, logdensity_fn)`."""
        return dict(list(inspect.signature(self.api.build_kernel()).parameters.items())[3:])

    def can_adapt(self, name: str) -> bool:
        """Whether the kernel has an argument of that name which is not fixed."""
        return name in self.arguments() and name not in self.parameters

    def check_parameters(self) -> None:
        """Refuse parameters that the kernel does not know, or lacks.

        Raises
        ------
        TypeError
            If one is unknown.
        ValueError
            If one is missing.
        """
        arguments = self.arguments()
        init_arguments = list(inspect.signature(self.api.init).parameters)[2:]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in arguments.values())
        unknown = [k for k in self.parameters if k not in arguments and k not in init_arguments]
        if unknown and not takes_any:
            raise TypeError(
                f"the kernel takes no parameter {', '.join(map(repr, unknown))}; it takes "
                f"{', '.join(map(repr, arguments))}."
            )
        missing = [
            name
            for name, argument in arguments.items()
            if argument.default is argument.empty
            and argument.kind is argument.POSITIONAL_OR_KEYWORD
            and name not in self.parameters
            and name not in ADAPTED
        ]
        if missing:
            raise ValueError(
                f"the kernel needs {', '.join(map(repr, missing))}; give parameters="
                f"{{{missing[0]!r}: ...}}."
            )

    def init(self, rng_key: RngKey, position: Position, logdensity_fn: LogDensityFn | None) -> Any:
        """State of one chain at `position`."""
        names = list(inspect.signature(self.api.init).parameters)[2:]
        extra = {name: self.parameters[name] for name in names if name in self.parameters}
        if "rng_key" in names:
            extra["rng_key"] = rng_key
        return self.api.init(position, logdensity_fn, **extra)

    def step(
        self,
        rng_key: RngKey,
        kernel_state: Any,
        logdensity_fn: LogDensityFn | None,
        step_size: Float[Array, ""],
        preconditioner: Preconditioner,
        *,
        is_warmup: bool = False,
    ) -> tuple[Any, Any]:
        """One step of one chain: new state and info."""
        api = self.warmup_api if is_warmup and self.warmup_api is not None else self.api
        kernel = api.build_kernel()
        matrix = preconditioner if self.takes_factored else preconditioner.inverse_mass_matrix
        values = {"step_size": step_size, "inverse_mass_matrix": matrix, **self.parameters}
        names = list(inspect.signature(kernel).parameters)[3:]
        chosen = {name: values[name] for name in names if name in values}
        return kernel(rng_key, kernel_state, logdensity_fn, **chosen)

    def evaluations(self, info: Any, kernel_state: Any) -> tuple[Any, Any]:
        """Gradients, and log densities without a gradient, that the step took."""
        has_grad = hasattr(kernel_state, "logdensity_grad")
        if self.num_grad is not None:
            return self.num_grad, int(self.num_grad == 0)
        num_logdensity = getattr(info, "num_logdensity", int(not has_grad))
        return getattr(info, "num_integration_steps", int(has_grad)), num_logdensity

    def is_divergent(self, info: Any, kernel_state: Any) -> Bool[Array, "*chain"]:
        """Whether the step met a number that is not finite, as far as the kernel tells."""
        if hasattr(info, "is_divergent"):
            return info.is_divergent
        if hasattr(info, "nonans"):
            return ~jnp.asarray(info.nonans)
        acceptance = getattr(info, "acceptance_rate", jnp.zeros(()))
        return jnp.isnan(kernel_state.logdensity) | jnp.isnan(acceptance)

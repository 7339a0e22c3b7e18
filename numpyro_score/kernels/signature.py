"""A kernel in BlackJAX's protocol with its parameters: its arguments are found by their names.

BlackJAX's kernels differ in what their `init` and their step ask for and in what they report, so
the signatures are read: an argument named `step_size` or `inverse_mass_matrix` can be adapted,
`rng_key` in `init` is given a key, and everything else has to come from the user.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.base import check_temperature
from numpyro_score.kernels.facts import Facts, as_reported, constant, facts_of
from numpyro_score.preconditioner import Preconditioner
from numpyro_score.types import LogDensityFn, Position, RngKey

ADAPTED = ("step_size", "inverse_mass_matrix", "mean_num_steps")
"""Kernel arguments that warmup can learn."""


class Algorithm(NamedTuple):
    """A kernel, its fixed parameters, and what is known of it; `algorithm_of` makes one.

    Attributes
    ----------
    api
        The kernel, in BlackJAX's protocol.
    parameters
        Values of its further arguments, shared by `init` and step.
    facts
        Whether it is exact with these parameters, what it evaluates, how it is tuned.
    warmup_api
        Kernel over the same state that runs in warmup instead, where this one cannot tune
        itself; None for this one.
    """

    api: KernelApi
    parameters: Mapping[str, Any]
    facts: Facts
    warmup_api: KernelApi | None = None

    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """Arguments of the kernel after `(rng_key, state, logdensity_fn)`."""
        return dict(list(inspect.signature(self.api.build_kernel()).parameters.items())[3:])

    def can_adapt(self, name: str) -> bool:
        """Whether the kernel has an argument of that name which is not fixed."""
        return name in self.arguments() and name not in self.parameters

    @property
    def can_adapt_friction(self) -> bool:
        """Whether the kernel has a friction that warmup can learn, and that is not fixed."""
        return self.facts.has_friction_rule and self.can_adapt("friction")

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
        learned: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Any]:
        """One step of one chain: new state and info; `learned` are further arguments by name."""
        api = self.warmup_api if is_warmup and self.warmup_api is not None else self.api
        kernel = api.build_kernel()
        is_factored = self.facts.takes_factored
        matrix = preconditioner if is_factored else preconditioner.inverse_mass_matrix
        values = {"step_size": step_size, "inverse_mass_matrix": matrix}
        values |= {**(learned or {}), **self.parameters}
        names = list(inspect.signature(kernel).parameters)[3:]
        chosen = {name: values[name] for name in names if name in values}
        return kernel(rng_key, kernel_state, logdensity_fn, **chosen)

    def is_divergent(self, info: Any, kernel_state: Any) -> Bool[Array, "*chain"]:
        """Whether the step met a number that is not finite, as far as the kernel reports it."""
        if hasattr(info, "is_divergent"):
            return info.is_divergent
        if hasattr(info, "nonans"):
            return ~jnp.asarray(info.nonans)
        acceptance = getattr(info, "acceptance_rate", jnp.zeros(()))
        return jnp.isnan(kernel_state.logdensity) | jnp.isnan(acceptance)


def algorithm_of(
    api: KernelApi,
    parameters: Mapping[str, Any],
    *,
    warmup_api: KernelApi | None = None,
    is_exact: bool | None = None,
    num_grad: int | None = None,
) -> Algorithm:
    """A kernel with its parameters checked, and with what is known of it.

    Parameters
    ----------
    api
        The kernel.
    parameters
        Values of its arguments besides step size and inverse mass matrix, which may be among them.
    warmup_api
        Kernel over the same state that runs in warmup instead.
    is_exact
        Whether its stationary distribution is the target. Needed for a kernel that is neither of
        this package nor of BlackJAX.
    num_grad
        Gradients that every step evaluates, where that is neither known nor reported by the info.

    Raises
    ------
    TypeError
        If a parameter is unknown.
    ValueError
        If one is missing or cannot be used, if it is not known whether the kernel is exact, or if
        a kernel that is known to be biased is said to be exact.

    Examples
    --------
    >>> from numpyro_score.kernels import mala
    >>> algorithm_of(mala, {"temperature": 2.0}).facts.is_exact
    False
    """
    facts = facts_of(api)
    if facts is None:
        if is_exact is None:
            raise ValueError(
                "it is not known whether this algorithm leaves the target invariant: give "
                "exact=True if every proposal is accepted or rejected with the exact ratio, "
                "exact=False if not."
            )
        facts = Facts(is_exact=is_exact, evaluations=as_reported)
    elif is_exact is not None:
        if is_exact and not facts.is_exact:
            raise ValueError(
                "exact=True, but this algorithm has no accept/reject step with the exact ratio and "
                "is biased; leave exact out."
            )
        facts = facts._replace(is_exact=is_exact)
    if num_grad is not None:
        facts = facts._replace(evaluations=partial(constant, num_grad))
    temperature = parameters.get("temperature", 1.0)
    check_temperature(temperature)
    if callable(temperature) or temperature != 1.0:
        facts = facts._replace(is_exact=False)
    algorithm = Algorithm(api, parameters, facts, warmup_api)
    algorithm.check_parameters()
    return algorithm

"""The log density of a run: at its draws, and what it costs."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from numpyro.infer import HMC

from numpyro_score.compilation import ONCE
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.run.elements import num_elements
from numpyro_score.types import LogDensityFn

if TYPE_CHECKING:
    from numpyro_score.run.plan import Plan


class Positions(NamedTuple):
    """Flat unconstrained positions, on the host and in double precision.

    Attributes
    ----------
    points
        Shape `(chain, draw, dim)`.
    logdensity
        Shape `(chain, draw)`.
    """

    points: Float[np.ndarray, "chain draw dim"]
    logdensity: Float[np.ndarray, "chain draw"]


def density_of(plan: "Plan", state: Any) -> "RunDensity | None":
    """The log density of a run; None for other kernels than ours and HMC, and for a score alone.

    Parameters
    ----------
    plan
        The run.
    state
        A state of all its chains.
    """
    kernel, args, kwargs = plan.kernel, plan.constants.args, plan.constants.kwargs
    if isinstance(kernel, NumPyroKernel):
        logdensity_fn = kernel.logdensity_fn(args, kwargs)
    elif isinstance(kernel, HMC):
        logdensity_fn = _of_hmc(kernel, args, kwargs)
    else:
        return None
    if logdensity_fn is None:
        return None
    template = jax.tree.map(lambda x: x[0], state.z)
    return RunDensity(kernel.model, logdensity_fn, args, kwargs, template)


def _of_hmc(kernel: HMC, args: Any, kwargs: Any) -> LogDensityFn:
    """That of HMC or NUTS of NumPyro, which keep no function of a model's arguments."""
    if kernel.model is None:
        return lambda position: -kernel._potential_fn(position)
    # what looks at models is imported when there is one
    from numpyro_score.targets.numpyro_model import initialize

    return initialize(jax.random.key(0), kernel.model, args, kwargs)[1].logdensity_fn(args, kwargs)


class RunDensity:
    """The log density of a run.

    Parameters
    ----------
    model
        The model; None where there is only a log density.
    logdensity_fn
        Unconstrained position -> log density.
    args, kwargs
        Arguments of the model.
    template
        An unconstrained position of one chain.
    """

    def __init__(
        self, model: Any, logdensity_fn: LogDensityFn, args: Any, kwargs: Any, template: Any
    ) -> None:
        self.template = template
        self.model, self.logdensity_fn = model, logdensity_fn
        self.args, self.kwargs = args, kwargs

    @cached_property
    def num_elements(self) -> int:
        """Elements of all arrays that one gradient computes."""
        return num_elements(self.logdensity_fn, self.template)

    def positions(self, samples: Any, num_draws: int) -> Positions:
        """Unconstrained positions of draws, and their log densities.

        Compiled once for every number of draws.

        Parameters
        ----------
        samples
            Draws `(chain, draw, ...)`: the model's sites, or positions where there is no model.
        num_draws
            How many of each chain to take, evenly spaced, at most.
        """
        given = samples if self.model is None else {name: samples[name] for name in self.template}
        made = jax.tree.leaves(given)[0].shape[1]
        chosen = np.linspace(0, made - 1, min(num_draws, made)).round().astype(int)
        found = self._at(jax.tree.map(lambda x: np.asarray(x)[:, chosen], given))
        return Positions(*(np.asarray(x, np.float64) for x in found))

    @cached_property
    def _at(self) -> Any:
        def at(draw: Any) -> tuple[Any, Any]:
            if self.model is not None:
                # what looks at models is imported when there is one
                from numpyro_score.targets.numpyro_model import unconstrain

                draw = unconstrain(self.model, self.args, self.kwargs, draw)
            return ravel_pytree(draw)[0], self.logdensity_fn(draw)

        return jax.jit(jax.vmap(jax.vmap(at)), compiler_options=ONCE)

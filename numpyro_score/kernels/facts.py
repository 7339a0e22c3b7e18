"""What is known of each kernel besides its formula: whether it is exact, what a step evaluates.

Nothing here is a default. A kernel that is in neither table is of unknown exactness, and its user
has to say which it is.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.generalized import TARGET_ACCEPTANCE_RATE as GHMC_ACCEPTANCE_RATE
from numpyro_score.kernels.generalized import ghmc
from numpyro_score.kernels.generalized import initial_step_size as ghmc_step_size
from numpyro_score.kernels.global_local import global_local
from numpyro_score.kernels.independence import independence
from numpyro_score.kernels.langevin import ula
from numpyro_score.kernels.local_mala import local_mala
from numpyro_score.kernels.local_mams import local_mams
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE as MALA_ACCEPTANCE_RATE
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.mala import optimal_step_size as mala_step_size
from numpyro_score.kernels.metropolis import metropolis_hastings
from numpyro_score.kernels.microcanonical import GRADIENTS as MAMS_GRADIENTS
from numpyro_score.kernels.microcanonical import (
    TARGET_ACCEPTANCE_RATE as MAMS_ACCEPTANCE_RATE,
)
from numpyro_score.kernels.microcanonical import initial_step_size as mams_step_size
from numpyro_score.kernels.microcanonical import mams, num_steps_at
from numpyro_score.kernels.parallel_tempering import parallel_tempering
from numpyro_score.kernels.random_walk import (
    TARGET_ACCEPTANCE_RATE as RANDOM_WALK_ACCEPTANCE_RATE,
)
from numpyro_score.kernels.random_walk import optimal_step_size as random_walk_step_size
from numpyro_score.kernels.random_walk import random_walk
from numpyro_score.kernels.score_metropolis import score_metropolis
from numpyro_score.kernels.underdamped import underdamped_langevin

type Evaluations = Callable[[Any, Any], tuple[Any, Any]]
"""`(info, state)` -> gradients, and log densities without a gradient, that the step evaluated."""


def as_reported(info: Any, state: Any, *, grads_per_integration_step: int = 1) -> tuple[Any, Any]:
    """Evaluations that the info reports; else one, with a gradient if the state holds one.

    Parameters
    ----------
    info, state
        What the kernel's step returned, and the state before it.
    grads_per_integration_step
        Gradients of one step of the kernel's integrator.
    """
    has_grad = hasattr(state, "logdensity_grad")
    num_steps = getattr(info, "num_integration_steps", int(has_grad))
    return grads_per_integration_step * num_steps, getattr(
        info, "num_logdensity", int(not has_grad)
    )


def constant(num_grad: int, info: Any, state: Any) -> tuple[int, int]:
    """The same number of gradients at every step; one log density where that is 0."""
    del info, state
    return num_grad, int(num_grad == 0)


class Facts(NamedTuple):
    """What is known of a kernel.

    Attributes
    ----------
    is_exact
        Whether its stationary distribution is the target, at temperature 1.
    evaluations
        What a step evaluated.
    target_acceptance_rate
        Acceptance at which it is most efficient.
    optimal_step_size
        dim -> step size that is right for a target of covariance `P`; None if not known.
    takes_factored
        Whether the kernel accepts a `Preconditioner` as `inverse_mass_matrix`.
    num_steps_at
        (step of the chain, mean number) -> integration steps of its trajectory, for kernels whose
        mean number of them warmup can learn; None for all others.
    has_friction_rule
        Whether warmup can learn the argument `friction`.
    """

    is_exact: bool
    evaluations: Evaluations
    target_acceptance_rate: float = 0.8
    optimal_step_size: Callable[[int], float] | None = None
    takes_factored: bool = False
    num_steps_at: Callable[[Any, Any], Any] | None = None
    has_friction_rule: bool = False


LANGEVIN = Facts(
    is_exact=True,
    evaluations=as_reported,
    target_acceptance_rate=MALA_ACCEPTANCE_RATE,
    optimal_step_size=mala_step_size,
    takes_factored=True,
)

MICROCANONICAL = Facts(
    is_exact=True,
    evaluations=partial(as_reported, grads_per_integration_step=MAMS_GRADIENTS),
    target_acceptance_rate=MAMS_ACCEPTANCE_RATE,
    optimal_step_size=mams_step_size,
    takes_factored=True,
    num_steps_at=num_steps_at,
)

OWN: tuple[tuple[KernelApi, Facts], ...] = (
    (metropolis_hastings, Facts(is_exact=True, evaluations=as_reported)),
    (
        random_walk,
        Facts(
            is_exact=True,
            evaluations=as_reported,
            target_acceptance_rate=RANDOM_WALK_ACCEPTANCE_RATE,
            optimal_step_size=random_walk_step_size,
            takes_factored=True,
        ),
    ),
    (independence, Facts(is_exact=True, evaluations=as_reported)),
    (mala, LANGEVIN),
    (local_mala, LANGEVIN),
    (ula, LANGEVIN._replace(is_exact=False)),
    (underdamped_langevin, LANGEVIN._replace(is_exact=False)),
    (score_metropolis, LANGEVIN._replace(is_exact=False)),
    (global_local, LANGEVIN),
    (
        ghmc,
        Facts(
            is_exact=True,
            evaluations=as_reported,
            target_acceptance_rate=GHMC_ACCEPTANCE_RATE,
            optimal_step_size=ghmc_step_size,
            takes_factored=True,
            has_friction_rule=True,
        ),
    ),
    (mams, MICROCANONICAL),
    (local_mams, MICROCANONICAL),
    (parallel_tempering, Facts(is_exact=True, evaluations=as_reported)),
)
"""The kernels of this package. Ours that sample `p^(1/T)` are exact at T = 1 only."""

BLACKJAX_EXACT = (
    "additive_step_random_walk",
    "barker",
    "barker_proposal",
    "coordinate_slice",
    "dhmc",
    "dmhmc",
    "dynamic_hmc",
    "ghmc",
    "gist_step_size",
    "gist_trajectory_length",
    "hmc",
    "irmh",
    "mala",
    "mhmc",
    "multinomial_hmc",
    "nuts",
    "rmh",
    "rmhmc",
    "slice_sampling",
)
"""BlackJAX's kernels with an accept/reject step, or slices; exact for a correct proposal."""

BLACKJAX_TWO_STAGES = {"adjusted_mclmc": True, "adjusted_mclmc_dynamic": True, "mclmc": False}
"""Whether BlackJAX's kernels of the McLachlan integrator, two gradients a step, are exact."""


def facts_of(api: KernelApi) -> Facts | None:
    """What is known of a kernel of this package or of BlackJAX; None for any other.

    Examples
    --------
    >>> import blackjax
    >>> facts_of(blackjax.mclmc).is_exact, facts_of(blackjax.nuts).is_exact
    (False, True)
    """
    for own, facts in OWN:
        # the same functions under BlackJAX's type are the same kernel
        if api.build_kernel is own.build_kernel:
            return facts
    import blackjax

    two_gradients = partial(as_reported, grads_per_integration_step=2)
    for names, evaluations in (
        (dict.fromkeys(BLACKJAX_EXACT, True), as_reported),
        (BLACKJAX_TWO_STAGES, two_gradients),
    ):
        for name, is_exact in names.items():
            known = getattr(blackjax, name, None)
            if known is not None and api.build_kernel is known.build_kernel:
                return Facts(is_exact=is_exact, evaluations=evaluations)
    return None

"""`unadjusted`: the sampler of a kernel that accepts every move, with a warmup that does not."""

from collections.abc import Callable
from typing import Any

from numpyro_score.infer.markov import markov
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.sampler import Sampler
from numpyro_score.infer.warmup import PreconditionerOptions, WarmupOptions, check_options
from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.signature import Algorithm


def unadjusted(
    owner: type,
    target: tuple[Any, Any, Any, Callable[..., Any]],
    algorithm: Algorithm,
    warmup_api: KernelApi,
    step_size: float,
    options: PreconditionerOptions,
    *,
    adapt_step_size: bool,
) -> tuple[Problem, Sampler]:
    """The problem and sampler of a kernel that accepts every move: its step size is as given.

    Parameters
    ----------
    owner
        Class of the kernel, for messages.
    target
        Model, potential energy, log density and starting strategy, as `Problem` takes them.
    algorithm
        The kernel, with a parameter `score_fn`.
    warmup_api
        Kernel over the same state with accept/reject, in whose steps the preconditioner is learned.
    step_size
        As given.
    options
        Of the preconditioner.
    adapt_step_size
        Whether the user asked for what is not possible.

    Raises
    ------
    ValueError, TypeError
        If asked to adapt the step size, or to learn a preconditioner from a score alone.
    """
    name, known = owner.__name__, PreconditionerOptions.__optional_keys__
    if "target_accept_prob" in options:
        raise TypeError(
            f"{name} has no argument 'target_accept_prob': it accepts every move, and has no "
            "acceptance to tune by."
        )
    check_options(owner, options, known)
    if adapt_step_size:
        raise ValueError(
            f"{name} accepts every move, so its step size cannot be adapted to an acceptance "
            "rate; give step_size (smaller is less biased), or use MALA."
        )
    has_score = algorithm.parameters["score_fn"] is not None
    wish = options.get("adapt_mass_matrix")
    if has_score and wish:
        raise ValueError(
            f"{name} learns its preconditioner from MALA steps, which need a log density, but has "
            "a score_fn; give inverse_mass_matrix, or leave score_fn out."
        )
    learns = not has_score if wish is None else wish
    if learns:
        algorithm = algorithm._replace(warmup_api=warmup_api)
    warmup: WarmupOptions = {
        **options,
        "adapt_mass_matrix": learns,
        "step_size": step_size,
        "adapt_step_size": False,
    }
    return Problem(name, *target, needs_density=not has_score), markov(algorithm, **warmup)

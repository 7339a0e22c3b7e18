"""A run before its first step: what is learned first, superchains, the states of its chains."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from numpyro_score.progress import Bar
from numpyro_score.run.fields import kept_fields
from numpyro_score.run.model_arguments import calling
from numpyro_score.run.parameters import warn_of_parameters
from numpyro_score.run.plan import Plan
from numpyro_score.run.program import Program
from numpyro_score.run.protocol import reporting_progress
from numpyro_score.run.randomness import warn_of_randomness
from numpyro_score.run.start import init, superchains
from numpyro_score.run.tree import WARMUP


class Begun(NamedTuple):
    """A run before its first step.

    Attributes
    ----------
    program
        What it compiles.
    state
        The states of its chains.
    learned
        Attributes of a kernel that learns before its first step; none of other kernels.
    seconds_learning
        What that took in this call.
    """

    program: Program
    state: Any
    learned: Mapping[str, Any]
    seconds_learning: float


def begin(plan: Plan, bar: Bar, extra_fields: Sequence[str], *, jit_model_args: bool) -> Begun:
    """Learn what the kernel learns first, and start its chains.

    Parameters
    ----------
    plan
        What is asked for.
    bar
        Told of the progress of learning.
    extra_fields
        Fields of the kernel's state to keep besides its default ones.
    jit_model_args
        Whether the start's program serves other data of the same shapes.

    Warns
    -----
    UserWarning
        If the model has parameters, which stay at their initial values, or draws random numbers
        itself, which stay as they are too.
    """
    kernel, constants, num_warmup = plan.kernel, plan.constants, plan.num_steps[WARMUP]
    program = Program(kernel, constants, (), plan.thinning, plan.layout)
    keys = jax.random.split(plan.rng_key, plan.num_chains)
    points = plan.init_params
    known = getattr(kernel, "attributes", {})
    called = calling(getattr(kernel, "model", None), constants.args, constants.kwargs)
    with called, reporting_progress(kernel, bar.report):
        if plan.num_superchains is not None:
            points = superchains(program, keys, num_warmup, points, plan.num_superchains)
        state = init(program, keys, num_warmup, points, jit_model_args=jit_model_args)
        model = getattr(kernel, "model", None)
        args, kwargs = constants.args, constants.kwargs
        # random initial values of parameters are reported once
        if model is not None and not warn_of_parameters(model, args, kwargs):
            warn_of_randomness(model, args, kwargs)
    learned = getattr(kernel, "attributes", {})
    seconds = learned["seconds_training"] if learned != known else 0.0
    program = program._replace(fields=kept_fields(kernel, state, extra_fields))
    return Begun(program, state, learned, seconds)

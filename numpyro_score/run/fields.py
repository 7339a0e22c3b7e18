"""Fields of a kernel's state: which are kept with draws, and what the last say of a run."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.program import STATISTICS, field

REMARK = "remark"
"""Attribute of a run: what its kernel finds wrong with the last draws."""


def kept_fields(kernel: MCMCKernel, state: Any, extra_fields: Sequence[str]) -> tuple[str, ...]:
    """The draw, the kernel's default fields, known statistics, and what was asked for.

    Parameters
    ----------
    kernel, state
        The kernel, and its first state.
    extra_fields
        What was asked for.

    Raises
    ------
    ValueError
        If a field that was asked for is unknown.
    """
    here = _present(state, (*STATISTICS, *extra_fields))
    for name in extra_fields:
        if name not in here:
            known = ", ".join(getattr(state, "_fields", ()))
            raise ValueError(f"the kernel's state has no field {name!r}; it has {known}.")
    names = [kernel.sample_field, *kernel.default_fields, *filter(here.__contains__, STATISTICS)]
    return tuple(dict.fromkeys([*names, *extra_fields]))


def _present(state: Any, names: Sequence[str]) -> set[str]:
    """Those of the fields that the state has; none is computed for it."""

    def collect(state: Any) -> dict[str, Any]:
        found = {}
        for name in names:
            with contextlib.suppress(AttributeError):
                found[name] = field(state, name)
        return found

    found = jax.eval_shape(collect, state)
    return {name for name, value in found.items() if value is not None}


def attributes(kernel: MCMCKernel, state: Any) -> dict[str, Any]:
    """What the kernel and its last state say of the run.

    Parameters
    ----------
    kernel, state
        The kernel, and its state after the run.
    """
    attrs: dict[str, Any] = {}
    target = getattr(kernel, "target_accept_prob", getattr(kernel, "_target_accept_prob", None))
    if target is not None:
        attrs["target_accept_prob"] = float(target)
    if getattr(kernel, "draws_are_independent", False):
        attrs["independent_draws"] = 1
    restarts = "adapt_state.warmup.num_restarts"
    if _present(state, [restarts]):
        attrs["num_restarts"] = int(np.asarray(field(state, restarts)).sum())
    length = "adapt_state.warmup.trajectory.mean_num_steps"
    if _present(state, [length]):
        attrs["mean_num_steps"] = float(np.asarray(field(state, length)))
    friction = "adapt_state.warmup.friction.friction"
    if _present(state, [friction]):
        attrs["friction"] = float(np.asarray(field(state, friction)))
    remark = getattr(kernel, "remark", None)
    # of several processes none has all chains
    if callable(remark) and jax.process_count() == 1 and (text := remark(state)) is not None:
        attrs[REMARK] = text
    return attrs

"""What a run does: the arguments of `sample`, checked, with what stands for those not given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.constants import Constants
from numpyro_score.run import arguments
from numpyro_score.run.budget import Budget, Evaluations, check_affordable
from numpyro_score.run.choice import Choice
from numpyro_score.run.claim import check_store
from numpyro_score.run.goal import check_goal, most_samples
from numpyro_score.run.layout import Layout, make_layout
from numpyro_score.run.protocol import is_exact
from numpyro_score.run.recommend import can_restart, choose
from numpyro_score.run.start import check_superchains
from numpyro_score.run.tree import SAMPLING, WARMUP
from numpyro_score.run.until import usual_goal
from numpyro_score.types import RngKey


class Plan(NamedTuple):
    """What a run does, before anything is compiled.

    Attributes
    ----------
    choice
        The kernel, and what takes its place.
    constants
        The arguments of its model.
    rng_key, init_params, num_superchains
        As `sample` was given them.
    num_chains
        Chains.
    num_steps
        Phase -> steps.
    thinning
        Every so many-th draw is kept.
    until
        What ends the run early, or None.
    keep_warmup
        Whether the draws of warmup are kept.
    layout
        Which device draws which chains.
    path
        The store, or None.
    resume
        Whether the store holds the beginning of the run.
    """

    choice: Choice
    constants: Constants
    rng_key: RngKey
    init_params: Any
    num_superchains: int | None
    num_chains: int
    num_steps: dict[str, int]
    thinning: int
    until: int | Budget | None
    keep_warmup: bool
    layout: Layout
    path: Path | None
    resume: bool

    @property
    def kernel(self) -> MCMCKernel:
        """The kernel to run."""
        return self.choice.kernel

    @property
    def streamed_to(self) -> Path | None:
        """The Zarr folder that is written to as the run goes on; None where there is none."""
        return None if self.path is None or self.path.suffix == ".nc" else self.path

    @property
    def num_rows(self) -> dict[str, int]:
        """Phase -> draws that are kept."""
        return {phase: -(-steps // self.thinning) for phase, steps in self.num_steps.items()}

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the root of the result, as far as they are known before the run."""
        exact = is_exact(self.kernel)
        attrs: dict[str, Any] = {
            "sampler": type(self.kernel).__name__,
            **({} if exact is None else {"exact": int(exact)}),
            "complete": 0,
            **self.choice.attributes,
            "num_warmup": self.num_steps[WARMUP],
            "num_chains": self.num_chains,
            "thinning": self.thinning,
        }
        if self.num_superchains is not None:
            each = self.num_chains // self.num_superchains
            ids = np.repeat(np.arange(self.num_superchains), each)
            attrs["superchain_ids"] = ids.tolist()
        return attrs


def make_plan(
    kernel: Any,
    rng_key: RngKey,
    *,
    num_warmup: int | None,
    num_samples: int | None,
    num_chains: int | None,
    until: int | Budget | None,
    model_args: tuple[Any, ...],
    model_kwargs: Mapping[str, Any] | None,
    thinning: int,
    init_params: Any,
    num_superchains: int | None,
    keep_warmup: bool,
    store: str | Path | None,
    resume: bool,
    chain_batch_size: int | None,
    mesh: Mesh | None,
) -> Plan:
    """Check the arguments of `sample`, and choose what was not given.

    Parameters
    ----------
    kernel, rng_key, num_warmup, num_samples, num_chains, until, model_args, model_kwargs, thinning
    init_params, num_superchains, keep_warmup, store, resume, chain_batch_size, mesh
        As `sample` was given them.

    Raises
    ------
    ValueError, TypeError, FileExistsError, FileNotFoundError
        As `sample` does before anything is compiled.
    """
    arguments.check_model_arguments(model_args, model_kwargs)
    choice = choose(
        kernel,
        model_args,
        model_kwargs or {},
        init_params,
        num_chains,
        may_restart=can_restart(until, num_samples, store),
    )
    num_chains = arguments.check_chains(num_chains, choice.num_chains)
    if choice.reason is not None:
        num_warmup = choice.num_warmup if num_warmup is None else num_warmup
        if num_samples is None and until is None:
            until = usual_goal(num_chains)
    check_goal(until, resume=resume, keep_warmup=keep_warmup)
    if until is not None and num_samples is None:
        num_samples = most_samples(until, num_chains)
    num_warmup, num_samples = arguments.check_lengths(num_warmup, num_samples, thinning)
    if isinstance(until, Evaluations):
        check_affordable(until, num_warmup, num_chains)
    arguments.check_key(rng_key)
    check_superchains(choice.kernel, num_chains, num_superchains)
    what = "chain" if num_superchains is None else "superchain"
    arguments.check_starts(init_params, num_superchains or num_chains, what)
    thinning = int(thinning)
    if until is not None:
        num_samples -= num_samples % thinning
    layout = make_layout(choice.kernel, num_chains, chain_batch_size, mesh)
    return Plan(
        choice=choice,
        constants=Constants(choice.kernel, model_args, model_kwargs or {}),
        rng_key=rng_key,
        init_params=init_params,
        num_superchains=num_superchains,
        num_chains=num_chains,
        num_steps={WARMUP: num_warmup, SAMPLING: num_samples},
        thinning=thinning,
        until=until,
        keep_warmup=keep_warmup,
        layout=layout,
        path=check_store(store, resume=resume),
        resume=resume,
    )

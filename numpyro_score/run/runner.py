"""`sample`: any NumPyro kernel, at the speed of a compiled scan, with a progress bar."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from jax.sharding import Mesh
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.progress import Bar
from numpyro_score.run.ahead import import_ahead
from numpyro_score.run.begin import Begun, begin
from numpyro_score.run.bounds import site_bounds
from numpyro_score.run.budget import Budget
from numpyro_score.run.check import KeptDraws, warn
from numpyro_score.run.choice import Choice, GivenUpError, announcing, restarting
from numpyro_score.run.density import density_of
from numpyro_score.run.fields import attributes
from numpyro_score.run.goal import make_goal
from numpyro_score.run.identity import identity
from numpyro_score.run.loop import chunks, compile_for, gathered, num_fitting
from numpyro_score.run.memory import Memory
from numpyro_score.run.model_arguments import arguments_apart
from numpyro_score.run.plan import Plan, make_plan
from numpyro_score.run.program import by_phase
from numpyro_score.run.recording import Recording
from numpyro_score.run.rehearsal import rehearse
from numpyro_score.run.store import ZarrStore
from numpyro_score.run.tree import SAMPLING, WARMUP, Converter
from numpyro_score.run.until import Until
from numpyro_score.types import RngKey


@arguments_apart
@restarting
def sample(
    kernel: MCMCKernel | Callable[..., Any] | Choice,
    rng_key: RngKey,
    *,
    num_warmup: int | None = None,
    num_samples: int | None = None,
    num_chains: int | None = None,
    until: int | Budget | None = None,
    model_args: tuple[Any, ...] = (),
    model_kwargs: Mapping[str, Any] | None = None,
    thinning: int = 1,
    extra_fields: Sequence[str] = (),
    init_params: Any = None,
    keep_warmup: bool = True,
    log_likelihood: bool = False,
    num_superchains: int | None = None,
    store: str | Path | None = None,
    resume: bool = False,
    chain_batch_size: int | None = None,
    mesh: Mesh | None = None,
    jit_model_args: bool = False,
    progress: bool = True,
) -> xr.DataTree:
    """Run a kernel and return all it drew, warmup included.

    Chains run as one batch. The draws do not depend on how the run is cut into chunks.

    Parameters
    ----------
    kernel
        Any `numpyro.infer.mcmc.MCMCKernel`. Or a NumPyro model, or a log density (with
        `init_params`), sampled by the recommended kernel: `MALA`, with a dense preconditioner up to
        100 dimensions. If few of its draws are effective, the run restarts (with a `Choice`):
        with the model's centered hierarchies non-centered, if there are any, and then with `MAMS`.
        If chains stay in different modes, or a search at the end finds modes that they have not
        visited, it restarts with `GlobalLocal` (up to 128 dimensions). If chains of `MAMS` stay
        at one place and the goal is out of reach, it restarts with a step size for every move. A
        run that cannot restart, since `num_samples` alone or a budget is given, or the store is
        a Zarr folder, has `MAMS` from the start. Fewer than 4 chains are run by NumPyro's `NUTS`,
        since a pooled warmup needs more, with centered hierarchies non-centered.
    rng_key
        One key.
    num_warmup, num_samples
        Steps of the two phases; thinning does not lengthen them. Both are needed for a kernel; of
        a model or a log density the defaults are 300 (500 of `NUTS`), and up to 4,000 with `until`.
    num_chains
        Chains, at least 1; of a model or a log density 64 by default.
    until
        Effective sample size, bulk and tail, at which the run ends: when every parameter has it
        and R-hat (of two chains or more) is at most 1.01, or after `num_samples` draws of each
        chain; 100 per chain for a model or a log density without `num_samples`. Draws are kept in
        memory until the end. Or a budget of total cost, `Evaluations(200_000)` or `Seconds(10)`.
    model_args, model_kwargs
        What the model is called with.
    thinning
        Every `thinning`-th draw is kept, of the warmup too. Its `num_grad` and `num_logdensity` are
        those since the last one that was kept.
    extra_fields
        Further fields of the kernel's state to keep, dots for nested ones.
    init_params
        Starting points in unconstrained coordinates, with a leading chain (or superchain) axis.
    keep_warmup
        Whether to keep `warmup_posterior` and `warmup_sample_stats`.
    log_likelihood
        Whether to add the pointwise log likelihood, for `az.loo`.
    num_superchains
        Groups of chains that start at one point, for nested R-hat (`arviz.rhat_nested` with the
        attribute `superchain_ids` of the result).
    store
        Where to write the run. A Zarr folder (`run.zarr`) is appended to as the run goes on, and
        can be read and resumed: memory does not grow, and the tree that is returned reads from it.
        A netCDF file (`run.nc`) is written at the end.
    resume
        Whether to go on with the run in the store, to the draws of an uninterrupted one; one that
        has not begun is begun.
    chain_batch_size
        Chains that a device works on at once, which bounds the memory of a step.
    mesh
        Devices to split the chains over, such as `jax.make_mesh((8,), ("chain",))`. Where
        `jax.distributed` was initialized, all devices of all processes by default: every process
        calls `sample` with the same arguments, writes its own chains to the store, and returns the
        whole. Chain `i` has the same key on any devices, and its draws agree to rounding.
    jit_model_args
        Whether arrays among the model's arguments are arguments of the compiled program, as in
        `numpyro.infer.MCMC`: the next run of the same kernel on data of the same shapes compiles
        nothing. The model must not read their values in plain Python.
    progress
        Whether to show a progress bar.

    Returns
    -------
    DataTree
        Groups `posterior`, `sample_stats`, `warmup_posterior`, `warmup_sample_stats`,
        `observed_data`, `log_likelihood`, as `arviz.from_numpyro` makes them. Attributes of the
        root say how it was made: `sampler`, `exact` (1 if the target is the stationary
        distribution, 0 if not, left out where neither is known), `independent_draws` (1 where draws
        do not depend on the ones before), `complete` (0 after an interrupt), `kernel_choice` (the
        rule, where the kernel was chosen here), `kernel_is_bound` (1 if it could not restart),
        `num_grad_given_up` and `seconds_given_up`, `num_elsewhere` of `num_dispersed` (short chains
        that ended in modes that the run lacks), `num_grad_search`, `seconds_search` (their cost),
        `until`, `until_reached`, `until_rhat` and `until_ess`, or `budget` and `budget_reached`,
        `num_restarts`, seconds by phase, and of a kernel that learns first `num_grad_training`,
        `seconds_training` and more.

    Raises
    ------
    ValueError, TypeError
        If a length is not positive, `rng_key` is no key, a field is unknown, the start is not
        usable, the chains cannot be laid out as asked, the result cannot hold a name or a type of
        the model's, or the store holds another run.
    BudgetExceededError
        If a budget is used up before the first draw.
    FileExistsError, BlockingIOError, OSError
        If the store is there already, is written to by another run, or cannot be written.

    Warns
    -----
    ConvergenceWarning
        If chains never moved, disagree or diverge, proposals are rejected in a tail, modes were
        missed, or float32 does not suffice: once, at the end, in a few lines.
        `warnings.filterwarnings("ignore", category=ConvergenceWarning)` turns it off, for instance
        for runs that are short on purpose.
    UserWarning
        If the model has parameters (`numpyro.param`), which stay at their initial values, or draws
        random numbers itself (`numpyro.prng_key`, hidden sites), which are fixed.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro_score.infer import MALA
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> dt = sample(
    ...     MALA(model),
    ...     jax.random.key(0),
    ...     num_warmup=100,
    ...     num_samples=50,
    ...     num_chains=4,
    ...     progress=False,
    ... )
    >>> dict(dt.posterior.sizes), dt.attrs["exact"]
    ({'chain': 4, 'draw': 50}, 1)
    """
    plan = make_plan(
        kernel,
        rng_key,
        num_warmup=num_warmup,
        num_samples=num_samples,
        num_chains=num_chains,
        until=until,
        model_args=model_args,
        model_kwargs=model_kwargs,
        thinning=thinning,
        init_params=init_params,
        num_superchains=num_superchains,
        keep_warmup=keep_warmup,
        store=store,
        resume=resume,
        chain_batch_size=chain_batch_size,
        mesh=mesh,
    )
    total = sum(plan.num_steps.values())
    shown = progress and jax.process_index() == 0
    with Bar(total, progress=shown, phase="initialising the model") as bar, announcing(bar):
        began = time.perf_counter()
        import_ahead()
        begun = begin(plan, bar, extra_fields, jit_model_args=jit_model_args)
        bar.start("compiling the step", total)
        converter = Converter(
            plan.kernel,
            plan.constants.args,
            plan.constants.kwargs,
            with_log_likelihood=log_likelihood,
            thinning=plan.thinning,
        )
        model = getattr(plan.kernel, "model", None)
        attrs = plan.attributes | site_bounds(model, plan.constants.args, plan.constants.kwargs)
        rehearse(begun.program, begun.state, converter, {**attrs, **begun.learned}, plan.path)
        with contextlib.closing(_sink(plan, begun, converter, attrs)) as sink:
            state = sink.restore(begun.state)
            program, arrays = begun.program, None
            if jit_model_args:
                detached, arrays = plan.constants.split()
                program = program._replace(constants=detached)
            programs = by_phase(program, plan.num_steps, num_fitting(program, state))
            longest = max(plan.num_steps.values()) // plan.thinning
            buffers = compile_for(programs, state, longest, arrays)
            seconds = time.perf_counter() - began - begun.seconds_learning
            density = density_of(plan, state) if plan.choice.otherwise else None
            goal = make_goal(
                plan.until,
                program,
                converter,
                plan.num_steps[WARMUP],
                begun.learned,
                plan.streamed_to if sink.rows else None,
                plan.choice,
                density,
            )
            draw = chunks if goal is None else goal.chunks
            drawn: Iterator[Any] = draw(programs, state, buffers, plan.num_steps, sink.rows, arrays)
            kept = None
            if plan.streamed_to is not None:
                kept = KeptDraws(plan.num_chains, sink.rows.get(SAMPLING, 0))
                drawn = gathered(drawn, plan.layout)
            recording = Recording(sink, kept, bar, state, keep_warmup=keep_warmup)
            looked: dict[str, Any] = {}

            def finish() -> xr.DataTree:
                found = {
                    **attributes(plan.kernel, recording.state),
                    **begun.learned,
                    "complete": int(recording.is_complete),
                    **({} if goal is None else goal.attributes),
                    **looked,
                    "seconds_compile": seconds,
                    **{f"seconds_{phase}": value for phase, value in recording.seconds.items()},
                }
                return sink.finish(attrs | found)

            bar.start(WARMUP, total, done=sum(sink.rows.values()) * plan.thinning)
            try:
                recording.record(drawn)
                if plan.choice.reason is not None and isinstance(goal, Until) and goal.is_reached:
                    # loads what learns
                    from numpyro_score.run.elsewhere import look_elsewhere

                    bar.start("looking for other modes", 1)
                    looked |= look_elsewhere(plan, density or density_of(plan, state), goal.draws)
                    bar.update(1)
                    goal.check_choice(plan.num_rows[SAMPLING], looked)
            except GivenUpError as given_up:
                given_up.finish = finish
                raise
            if goal is not None and recording.is_complete and bar.is_shown and goal.ending:
                bar.write(goal.ending)
            tree = finish()
    warn(tree, None if kept is None else kept.posterior(converter))
    return tree


def _sink(
    plan: Plan, begun: Begun, converter: Converter, attrs: Mapping[str, Any]
) -> Memory | ZarrStore:
    """What keeps the draws."""
    if plan.streamed_to is None:
        return Memory(converter, plan.layout, plan.path)
    who = identity(
        begun.program,
        begun.state,
        plan.rng_key,
        plan.num_steps,
        plan.init_params,
        plan.num_superchains,
        keep_warmup=plan.keep_warmup,
        log_likelihood=converter.with_log_likelihood,
    )
    return ZarrStore(
        plan.streamed_to, converter, plan.layout, plan.num_rows, who, attrs, resume=plan.resume
    )

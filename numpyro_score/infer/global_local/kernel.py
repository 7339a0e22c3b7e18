"""`GlobalLocal`: local moves, and learned jumps between modes, in NumPyro's protocol; exact."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.infer.initialization import init_to_uniform
from numpyro.util import is_prng_key

from numpyro_score.checks import check_whole
from numpyro_score.infer.adapter import MapChains
from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.infer.global_local import turns
from numpyro_score.infer.global_local.fitted import Fitted
from numpyro_score.infer.global_local.learn import MakeProposal, default_network, learn
from numpyro_score.infer.global_local.turns import GlobalLocalAdapterState
from numpyro_score.infer.prepared import FlatLogDensity, PreparedKernel
from numpyro_score.infer.state import AdapterState, per_chain
from numpyro_score.infer.tempering.explore import reach
from numpyro_score.infer.tempering.start_law import as_law, start_law
from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.langevin import ula
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.samplers.proposals import (
    LearnedProposal,
    RoundTrip,
    flow_proposal,
    round_trip,
)
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.types import LogDensityFn, Position, RngKey

NUM_PARTICLES = 8192
"""Default number of particles."""


class GlobalLocal(PreparedKernel):
    """Local moves in turn with jumps that a score network has learned; exact.

    Before the first step it explores by tempered SMC from the prior (or a wide Gaussian), trains a
    score at every noise level on the particles, and trains again on the proposal's own weighted
    draws while its acceptance rises. The proposal is then frozen. Warmup tunes the local moves;
    after it, every `global_every`-th step proposes a draw of the score's probability flow, and
    Metropolis-Hastings with the exact density of the proposal decides. Chains start from the
    particles unless `init_params` are given. What is reported are the chains' own draws.

    It trains once for a kernel object and its data; `fit` does so ahead of a run.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three. Without a model give `init_params`.
    local
        The local moves, in BlackJAX's protocol, such as `blackjax.nuts`. They have to leave the
        target invariant: with `ula` the kernel is not `exact`.
    local_parameters
        Its parameters by name; step size and mass matrix are learned where they are left out.
    num_particles
        Particles of the exploration, which are what the network first learns from.
    network
        `(dim, rng_key) -> network` for `numpyro_score.scores.ScoreNetwork`.
    proposal
        What makes a proposal of the score: `flow_proposal`, or `path_proposal`, which asks for no
        derivatives of the network and serves in more dimensions. Both are functions of
        `numpyro_score.samplers.proposals`, and `functools.partial` of one sets its options.
    rounds
        Trainings at most.
    global_every
        A step in so many is global.
    start
        What exploration starts from: a NumPyro distribution over the flat unconstrained position,
        or an `IndependentProposal` of it. By default the model's prior, or a Gaussian of sd 10
        where there is none.
    step_size, inverse_mass_matrix, adapt_step_size, adapt_mass_matrix, dense_mass
        Of the local moves, as in `numpyro.infer.HMC`.
    target_accept_prob
        Acceptance that the local step size is tuned to.
    init_strategy
        As in `numpyro.infer.HMC`; only tells the shapes of the sites.
    progress
        Whether training shows a bar of its own; `numpyro_score.sample` shows it in that of the run.

    Raises
    ------
    ValueError, TypeError
        If what is to be sampled is missing or given twice, or a setting cannot be one.

    Warns
    -----
    UserWarning
        When fitting, if Pareto k is above .7 or fewer than .05 of the jumps would be accepted.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     x = numpyro.sample("x", dist.Normal(0.0, 5.0))
    ...     numpyro.factor("two modes", jax.numpy.logaddexp(-8 * (x - 3) ** 2, -8 * (x + 3) ** 2))
    >>> kernel = GlobalLocal(model, num_particles=512, progress=False)
    >>> kernel.global_every, kernel.exact
    (5, True)
    """

    _state_type: type[AdapterState] = GlobalLocalAdapterState

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        local: KernelApi = mala,
        local_parameters: Mapping[str, Any] | None = None,
        num_particles: int = NUM_PARTICLES,
        network: Callable[[int, RngKey], Any] = default_network,
        proposal: MakeProposal = flow_proposal,
        rounds: int = 3,
        global_every: int = 5,
        start: IndependentProposal | Any = None,
        step_size: float | None = None,
        inverse_mass_matrix: Any = None,
        adapt_step_size: bool | None = None,
        adapt_mass_matrix: bool | None = None,
        dense_mass: bool = False,
        target_accept_prob: float | None = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
        progress: bool = True,
    ) -> None:
        least = {"num_particles": (num_particles, 16), "rounds": (rounds, 1)}
        least["global_every"] = (global_every, 1)
        for name, (value, smallest) in least.items():
            check_whole(name, value, smallest)
        parameters = dict(local_parameters or {})
        is_exact = local.build_kernel is not ula.build_kernel
        algorithm = Algorithm(local, parameters, is_exact=is_exact)
        if local.build_kernel is mala.build_kernel:
            algorithm = Algorithm(
                mala,
                parameters,
                target_acceptance_rate=TARGET_ACCEPTANCE_RATE,
                optimal_step_size=optimal_step_size,
                takes_factored=True,
            )
        super().__init__(
            algorithm,
            model,
            potential_fn,
            logdensity_fn,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            adapt_step_size=adapt_step_size,
            adapt_mass_matrix=adapt_mass_matrix,
            dense_mass=dense_mass,
            target_accept_prob=target_accept_prob,
            init_strategy=init_strategy,
            # the chains start near equilibrium, and modes may differ much in density
            restart_stuck_chains=False,
        )
        self.global_every = global_every
        self._start_law = as_law(start)
        self._num_particles, self._rounds = num_particles, rounds
        self._network, self._make_proposal, self._progress = network, proposal, progress
        self._proposal: LearnedProposal | None = None

    @classmethod
    def from_score(
        cls, model: Callable[..., Any] | None, fitted: Fitted | LearnedProposal, **settings: Any
    ) -> "GlobalLocal":
        """A kernel that starts from a trained proposal, and trains no more.

        Works under every chain method.

        Parameters
        ----------
        model
            As for the class; None with `potential_fn` or `logdensity_fn` among the settings.
        fitted
            What `fit` returned, of a kernel on the same model and data; or a proposal of your own
            over flat unconstrained positions, from `flow_proposal` or `path_proposal`. With the
            latter chains start where MALA's would.
        settings
            Further arguments of the class.
        """
        kernel = cls(model, **settings)
        if isinstance(fitted, LearnedProposal):
            kernel._proposal = fitted
        else:
            kernel._prepared, kernel._proposal = fitted, fitted.proposal
        return kernel

    @property
    def fitted(self) -> Fitted | None:
        """What training has left, None before it."""
        assert self._prepared is None or isinstance(self._prepared, Fitted)
        return self._prepared

    @property
    def ess_fraction(self) -> float | None:
        """Effective sample size of importance sampling per proposal; None before training."""
        return None if self.fitted is None else self.fitted.quality.ess_fraction

    @property
    def pareto_k(self) -> float | None:
        """Tail of the proposals' weights, above .7 a warning; None before training."""
        return None if self.fitted is None else self.fitted.quality.pareto_k

    @property
    def attributes(self) -> dict[str, float]:
        """What a run records: what learning cost, and what the proposal is worth."""
        if self.fitted is None:
            return {}
        found = self.fitted.quality
        worth = {
            "importance_ess_fraction": found.ess_fraction,
            "pareto_k": found.pareto_k,
            "log_evidence": found.log_evidence,
            "log_evidence_error": found.log_evidence_error,
        }
        return {**super().attributes, **worth}

    @property
    def settings(self) -> dict[str, Any]:
        """What the kernel was given, in plain values and words, to tell one run from another."""
        own = {
            "global_every": self.global_every,
            "num_particles": self._num_particles,
            "rounds": self._rounds,
            "proposal": getattr(self._make_proposal, "__qualname__", repr(self._make_proposal)),
        }
        return {**super().settings, **own}

    @property
    def default_fields(self) -> tuple[str, ...]:
        """Fields that `MCMC` collects."""
        own = ("is_global", "global_accept_prob", "local_accept_prob", "log_q")
        return (*super().default_fields, *own, "is_lost", "longest_rejection")

    def get_diagnostics_str(self, state: AdapterState) -> str:
        """Line for the progress bar."""
        local, jumps = (
            float(jnp.mean(rate))
            for rate in (state.kernel_state.told[2], state.kernel_state.told[1])
        )
        step_size = float(jnp.mean(state.adapt_state.step_size))
        return f"step size {step_size:.2e}. acc. prob local={local:.2f} global={jumps:.2f}"

    # -- exploring and training -------------------------------------------------------------------

    def fit(self, rng_key: RngKey, *args: Any, init_params: Any = None, **kwargs: Any) -> Fitted:
        """Explore, train, and freeze the proposal; once for the kernel and its data.

        Parameters
        ----------
        rng_key
            One key.
        args, kwargs
            What the model is called with.
        init_params
            One unconstrained position, needed without a model, for its shape alone.

        Returns
        -------
        What was learned, for `from_score`; also kept in the kernel.

        Raises
        ------
        ValueError
            If exploration does not reach the target, or there is no position to learn shapes from.
        """
        super().fit(rng_key, *args, init_params=init_params, **kwargs)
        if self.fitted is None:
            raise ValueError("the kernel was given a proposal of its own, and has none to fit.")
        return self.fitted

    def round_trip(self, rng_key: RngKey, num_draws: int = 1000) -> RoundTrip:
        """Flow draws of the proposal back to noise: the error, and the share that is lost.

        Raises
        ------
        ValueError
            If nothing has been fitted yet, or the proposal is not a flow.
        """
        if self._proposal is None:
            raise ValueError("there is no proposal yet: call fit(rng_key, *args) first.")
        if not isinstance(self._proposal.learned, MonotoneFlow):
            raise ValueError(
                "only a flow is undone; the weight of a path is that of the path that was drawn."
            )
        return round_trip(self._proposal.learned, rng_key, num_draws)

    def _is_prepared_for(self, args: Any, kwargs: Any) -> bool:
        has_own = self._prepared is None and self._proposal is not None
        return has_own or super()._is_prepared_for(args, kwargs)

    def _prepare(
        self,
        rng_key: RngKey,
        template: Position,
        logdensity_fn: FlatLogDensity,
        args: Any,
        kwargs: dict[str, Any],
    ) -> Fitted:
        key_explore, key_learn = jax.random.split(rng_key)
        law = start_law(self._start_law, self.model, ravel_pytree(template)[0], args, kwargs)
        explored, seconds_explore = reach(
            logdensity_fn, law, key_explore, self._num_particles, self._tell
        )
        begin = time.perf_counter()
        learned = learn(
            logdensity_fn,
            explored,
            key_learn,
            network=self._network,
            make_proposal=self._make_proposal,
            rounds=self._rounds,
            progress=self._progress if self._tell is None else self._tell,
        )
        seconds = {"explore": seconds_explore, "train": time.perf_counter() - begin}
        fitted = Fitted(
            learned.proposal,
            learned.particles,
            learned.quality,
            learned.rounds,
            explored.num_grad + learned.num_grad,
            int(explored.num_stages),
            seconds,
            template,
        )
        self._proposal = fitted.proposal
        fitted.complain()
        return fitted

    # -- the adapter's protocol -------------------------------------------------------------------

    def _started(self, kernel_state: Any) -> Any:
        proposal = self._proposal
        assert proposal is not None
        return turns.start(proposal, eqx.filter(proposal, eqx.is_array), kernel_state)

    def _step_chains(
        self,
        algorithm: Algorithm,
        keys: Any,
        state: AdapterState,
        logdensity_fn: LogDensityFn | None,
        map_chains: MapChains,
        *,
        is_warmup: bool,
    ) -> tuple[Any, Any]:
        del is_warmup
        assert logdensity_fn is not None
        warmup, kernel_state = state.adapt_state.warmup, state.kernel_state
        rest = eqx.filter(self._proposal, eqx.is_array, inverse=True)
        proposal = eqx.combine(kernel_state.arrays, rest)
        is_single = is_prng_key(keys)
        step_size = state.adapt_state.step_size
        if is_single:
            # a batch of one
            keys, step_size, map_chains = keys[None], step_size[None], jax.vmap
            kernel_state = per_chain(kernel_state, lambda x: x[None], turns.SHARED)
        turn = jnp.where(warmup.step < warmup.num_warmup, 0, kernel_state.turn + 1)
        rows = kernel_state.pool.log_learned.shape[1]
        row = jnp.maximum(turn // self.global_every - 1, 0) % rows
        kernel_state = kernel_state._replace(turn=turn)
        shared = (algorithm, keys, kernel_state, logdensity_fn, map_chains)
        kernel_state, info = jax.lax.cond(
            (turn > 0) & (turn % self.global_every == 0),
            partial(turns.global_turn, *shared, proposal, row),
            partial(turns.local_turn, *shared, step_size, warmup.preconditioner),
        )
        if is_single:
            kernel_state = per_chain(kernel_state, lambda x: x[0], turns.SHARED)
            info = jax.tree.map(lambda x: x[0], info)
        return kernel_state, info

    def _taken(self, kernel_state: Any, source: Array) -> Any:
        local = jax.tree.map(lambda x: x[source], kernel_state.local)
        return kernel_state._replace(local=local)

    def wrap_model(self, wrapper: Callable[..., Any]) -> Self:
        """Copy of this kernel on `wrapper(model)`, not fitted yet."""
        kernel = super().wrap_model(wrapper)
        kernel._proposal = None
        return kernel

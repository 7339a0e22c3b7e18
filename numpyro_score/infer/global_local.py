"""`GlobalLocal`: local moves, and learned jumps between modes, in NumPyro's protocol."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

from jax.flatten_util import ravel_pytree
from numpyro.infer.initialization import init_to_uniform

from numpyro_score.checks import check_whole
from numpyro_score.deprecation import renamed_arguments
from numpyro_score.infer.alternate import alternate
from numpyro_score.infer.learned_jump import LEARNED_JUMP, interval_of, usual_interval
from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.sampler import Context, prepared
from numpyro_score.infer.warmup import WarmupOptions, check_options
from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.learned.fit_proposal import fit_proposal
from numpyro_score.learned.fitted import Fitted
from numpyro_score.learned.preparation import Given
from numpyro_score.learned.reference import as_reference, position_of, reference_of
from numpyro_score.learned.training import MakeProposal, default_network
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal, RoundTrip, round_trip
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.types import LogDensityFn, Position, RngKey

NUM_PARTICLES = 4096
"""Default number of particles."""


class GlobalLocal(NumPyroKernel):
    """Local moves alternating with learned jumps between modes; exact if the local moves are.

    Before the first step it explores: particles are annealed from the prior (or a wide Gaussian) by
    tempered SMC, short local chains run from dispersed starts, and two independent sets of
    particles are annealed from a mixture of Gaussians over the regions that both found. That
    mixture is adapted to the particles, and to its own weighted draws; so is a product of
    independent coordinates. Where the jumps of both would be accepted too rarely, a score at every
    noise level is trained on the particles and their gradients, and again on the proposal's own
    weighted draws while acceptance or the weights of the regions change. The proposal is then
    frozen. Warmup tunes the local moves; after it, every `global_every`-th step proposes a draw of
    mixture or product, or of the score's probability flow, which is accepted or rejected by
    Metropolis-Hastings with the density of the proposal. Chains start from the particles unless
    `init_params` are given. Only the draws of the chains are returned.

    Exactness: the density of a mixture or product is known, that of a flow is that of an invertible
    map. Positions at which it could not be inverted are counted (`is_lost`), and get the density of
    the proposal's heavy-tailed part alone. The kernel is exact as long as the flow indeed does not
    reach them and no fold of the map (where it is not one to one) goes undetected; `round_trip`
    measures the errors of the inverse.

    It trains once for a kernel object and its data; `fit` does so ahead of a run.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three. Without a model give `reference`, or `init_params`.
    local
        The local moves, in BlackJAX's protocol, such as `blackjax.nuts`. With biased ones, `ula` or
        `blackjax.mclmc`, the kernel is not `exact`.
    local_parameters
        Its parameters by name; step size and mass matrix are learned where they are left out.
    local_exact
        Whether the local moves leave the target invariant. Known for the kernels of BlackJAX and of
        this package; has to be given for any other.
    num_particles
        Particles of the exploration, to which the mixture is fitted, or on which the network is
        first trained.
    network
        `(dim, rng_key) -> network` for `numpyro_score.scores.ScoreNetwork`.
    proposal
        What makes a proposal of the score: `flow_proposal`, or `path_proposal`, which needs no
        derivatives of the network and suits higher dimensions. Both are functions of
        `numpyro_score.samplers.proposals`, and `functools.partial` of one sets its options. By
        default a mixture of Gaussians or a product of independent coordinates if the jumps of one
        are accepted often enough, else the flow for up to 32 dimensions and the path beyond.
    rounds
        Largest number of trainings of the network.
    global_every
        After warmup every `global_every`-th step is a jump: by default every second one with a
        mixture or product, whose jumps cost no more than local steps, every fifth with a network.
    reference
        What exploration starts from: a NumPyro distribution over the flat unconstrained position,
        or an `IndependentProposal` of it. By default the model's prior, or a Gaussian of sd 10
        where there is none.
    init_strategy
        As in `numpyro.infer.HMC`; used for the shapes of the sites alone.
    progress
        Whether training shows a bar of its own; `numpyro_score.sample` shows it in that of the run.
    warmup
        Options of the local moves' warmup, by name, described in
        `numpyro_score.infer.WarmupOptions`: `step_size`, `inverse_mass_matrix`,
        `adapt_step_size`, `adapt_mass_matrix`, `dense_mass`, `target_accept_prob`.

    Raises
    ------
    ValueError, TypeError
        If what is to be sampled is missing or given twice, or a setting is out of range.

    Warns
    -----
    UserWarning
        When fitting: if Pareto k is above .7 or less than .05 of the jumps would be accepted; if
        estimates of the evidence or of the weights of regions disagree; if a region was found by
        so few starts, or from outside of the reference alone, that others may have been missed.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     x = numpyro.sample("x", dist.Normal(0.0, 5.0))
    ...     numpyro.factor("two modes", jax.numpy.logaddexp(-8 * (x - 3) ** 2, -8 * (x + 3) ** 2))
    >>> kernel = GlobalLocal(model, num_particles=512, global_every=4, progress=False)
    >>> kernel.global_every, kernel.exact
    (4, True)
    """

    @renamed_arguments(start="reference")
    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        local: KernelApi = mala,
        local_parameters: Mapping[str, Any] | None = None,
        local_exact: bool | None = None,
        num_particles: int = NUM_PARTICLES,
        network: Callable[[int, RngKey], Any] = default_network,
        proposal: MakeProposal | None = None,
        rounds: int = 3,
        global_every: int | None = None,
        reference: IndependentProposal | Any = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
        progress: bool = True,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        check_whole("num_particles", num_particles, 16)
        check_whole("rounds", rounds)
        if global_every is not None:
            check_whole("global_every", global_every)
        every = usual_interval if global_every is None else global_every
        # the chains start near equilibrium, and modes may differ much in density
        warmup.setdefault("restart_stuck_chains", False)
        algorithm = algorithm_of(local, dict(local_parameters or {}), is_exact=local_exact)
        given = as_reference(reference)
        settings: dict[str, Any] = {"reference": given, "network": network}
        settings |= {"num_particles": num_particles, "rounds": rounds, "proposal": proposal}
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            prepared(
                alternate(markov(algorithm, **warmup), LEARNED_JUMP, every=every),
                partial(_learn, given, num_particles, network, proposal, rounds, progress),
                position_of(given),
                **settings,
            ),
        )
        self._global_every = global_every

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
        kernel._use(Given(fitted) if isinstance(fitted, LearnedProposal) else fitted)
        return kernel

    @property
    def global_every(self) -> int | None:
        """Steps from one jump to the next; None if that is up to a proposal not learned yet."""
        proposal = self._preparer.learned
        if self._global_every is not None or proposal is None:
            return self._global_every
        return interval_of(proposal)

    @property
    def fitted(self) -> Fitted | None:
        """What was learned; None before `fit` or a run, or with a proposal of your own."""
        preparation = self._preparer.preparation
        return preparation if isinstance(preparation, Fitted) else None

    @property
    def ess_fraction(self) -> float | None:
        """Effective sample size of importance sampling per proposal; None before training."""
        return None if self.fitted is None else self.fitted.quality.ess_fraction

    @property
    def pareto_k(self) -> float | None:
        """Tail of the proposals' weights, above .7 a warning; None before training."""
        return None if self.fitted is None else self.fitted.quality.pareto_k

    def round_trip(self, rng_key: RngKey, num_draws: int = 1000) -> RoundTrip:
        """Flow draws of the proposal back to noise: the error, and the share that is lost.

        Raises
        ------
        ValueError
            If nothing has been fitted yet, or the proposal is not a flow.
        """
        proposal = self._preparer.learned
        if proposal is None:
            raise ValueError("there is no proposal yet: call fit(rng_key, *args) first.")
        if not isinstance(proposal.learned, MonotoneFlow):
            raise ValueError(
                "only a flow can be inverted: the density of a mixture needs no inverse, and the "
                "weight of a path is that of the path drawn. Give proposal=flow_proposal."
            )
        return round_trip(proposal.learned, rng_key, num_draws)


def _learn(
    given: IndependentProposal | None,
    num_particles: int,
    network: Callable[[int, RngKey], Any],
    make_proposal: MakeProposal | None,
    rounds: int,
    has_bar: bool,
    rng_key: RngKey,
    template: Position,
    context: Context,
    progress: ProgressCallback | None,
) -> Fitted:
    flat = ravel_pytree(template)[0]
    return fit_proposal(
        context.flat_logdensity_fn(template),
        reference_of(given, context.model, flat, context.args, dict(context.kwargs)),
        rng_key,
        template,
        num_particles=num_particles,
        network=network,
        make_proposal=make_proposal,
        rounds=rounds,
        progress=has_bar if progress is None else progress,
    )

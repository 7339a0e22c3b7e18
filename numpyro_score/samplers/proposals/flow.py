"""An independence proposal from a trained score: a flow, and a heavy-tailed law beside it.

    q = (1 - w) q_flow + w t_nu

`q_flow` is the law of `MonotoneFlow` in coordinates `u`, `x = center + factor u`; `t_nu` a
multivariate Student t in the same coordinates. The flow's tails are those of a Gaussian; beside
the other part, of small weight, `p / q` stays bounded for targets with tails up to the t's, so that
no point holds an independence chain for long (Hesterberg 1995, doi:10.1080/00401706.1995.10484303;
Owen and Zhou 2000, doi:10.1080/01621459.2000.10473909).
"""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.grids import check_count
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.samplers.steps import Score
from numpyro_score.types import RngKey

Point = Float[Array, " dim"]

NUM_STEPS = 24
"""Default steps of the flow: more raise the acceptance by less than a hundredth."""

LEAST_NOISE = 0.03
"""Default noise before the last step, in units of the data's sd."""


class Draft(NamedTuple):
    """A draw whose density is not known yet, where it came from the heavy-tailed law.

    Attributes
    ----------
    u
        The draw, in the flow's coordinates.
    log_flow
        Log density of the flow's law there; only where `is_heavy` is False.
    is_heavy
        Whether it came from the heavy-tailed law.
    """

    u: Point
    log_flow: Float[Array, ""]
    is_heavy: Bool[Array, ""]


@final
class FlowProposal(eqx.Module):
    """An independence proposal; made by `flow_proposal`.

    Parameters
    ----------
    flow
        The flow, in coordinates `u`.
    center, factor
        `x = center + factor u`; `(dim,)` and lower triangular `(dim, dim)`.
    weight
        Of the heavy-tailed law, in [0, 1).
    df
        Its degrees of freedom, a whole number.
    """

    flow: MonotoneFlow
    center: Point
    factor: Float[Array, "dim dim"]
    weight: float = eqx.field(static=True)
    df: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.flow.dim

    def as_independent(self) -> IndependentProposal:
        """The proposal as `numpyro_score.independence` takes it."""
        return IndependentProposal(self.sample_and_log_prob, self.log_prob)

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw and the log density of the proposal there."""
        draft = self.draft(rng_key)
        if self.weight == 0:
            return self.place(draft.u), self.mix(draft.u, draft.log_flow)
        encoded = self.flow.encode(draft.u).log_prob
        log_flow = jnp.where(draft.is_heavy, encoded, draft.log_flow)
        return self.place(draft.u), self.mix(draft.u, log_flow)

    def log_prob(self, x: Point) -> Float[Array, ""]:
        """Log density of the proposal at one point, by flowing it back to noise."""
        u = self.coordinates(x)
        return self.mix(u, self.flow.encode(u).log_prob)

    # -- in parts, for those who draw many at a time ----------------------------------------------

    def draft(self, rng_key: RngKey) -> Draft:
        """One draw, with as much of its density as comes with it."""
        key_noise, key_heavy, key_which = jax.random.split(rng_key, 3)
        dtype = self.center.dtype
        u, log_flow = self.flow.decode(jax.random.normal(key_noise, (self.dim,), dtype))
        if self.weight == 0:
            return Draft(u, log_flow, jnp.zeros((), bool))
        is_heavy = jax.random.uniform(key_which, dtype=dtype) < self.weight
        # a chi-square of few degrees of freedom is a sum of squares, and compiles to no loop
        normal = jax.random.normal(key_heavy, (self.dim + self.df,), dtype)
        heavy = normal[: self.dim] / jnp.sqrt(jnp.mean(normal[self.dim :] ** 2))
        return Draft(jnp.where(is_heavy, heavy, u), log_flow, is_heavy)

    def mix(self, u: Point, log_flow: Float[Array, ""]) -> Float[Array, ""]:
        """Log density of the proposal, in `x`, where that of the flow, in `u`, is known."""
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        if self.weight == 0:
            return log_flow - log_det
        log_heavy = jnp.asarray(self._heavy(u.dtype).log_prob(u), u.dtype)
        log_weights = np.log1p(-self.weight), np.log(self.weight)
        return jnp.logaddexp(log_weights[0] + log_flow, log_weights[1] + log_heavy) - log_det

    def place(self, u: Point) -> Point:
        """The point of coordinates `u`."""
        return self.center + self.factor @ u

    def coordinates(self, x: Point) -> Point:
        """The coordinates of a point."""
        return solve_triangular(self.factor, x - self.center, lower=True)

    def _heavy(self, dtype: Any) -> dist.MultivariateStudentT:
        identity = jnp.eye(self.dim, dtype=dtype)
        df = jnp.asarray(self.df, dtype)
        return dist.MultivariateStudentT(df, jnp.zeros(self.dim, dtype), identity)


class _Plan(NamedTuple):
    """Arrays of a `MonotoneFlow`, and the largest noise."""

    times: Array
    ratios: Array
    start_mean: Array
    start_sd: Array
    highest: Array


@eqx.filter_jit
def _plan(noise: NoiseProcess, mean: Array, sd: Array, lowest: Array, num_steps: int) -> _Plan:
    """When to look at the score, by steps that are even in the log of the noise, and a last one."""
    highest = jnp.asarray(noise.ratio(1.0), mean.dtype)
    share = jnp.linspace(0.0, 1.0, num_steps, dtype=mean.dtype)
    before = highest * (lowest / highest) ** share
    after = jnp.append(before[1:], 0.0).astype(mean.dtype)
    times = noise.time_of(jnp.sqrt(before * (before + after) / 2))
    start, alpha = noise.prior(mean, sd), noise.alpha(1.0)
    start_mean, start_sd = (jnp.asarray(value / alpha, mean.dtype) for value in start)
    return _Plan(times, after / before, start_mean, start_sd, highest)


def flow_proposal(
    score: Score,
    noise: NoiseProcess,
    dim: int,
    *,
    num_steps: int = NUM_STEPS,
    least_noise: float = LEAST_NOISE,
    data_mean: Any = 0.0,
    data_sd: Any = 1.0,
    center: Any = 0.0,
    factor: Any = None,
    weight: float = 0.02,
    df: int = 5,
) -> FlowProposal:
    """An independence proposal from a score and its noise process.

    An exact kernel with it stays exact however bad the score is and however few the steps.

    Parameters
    ----------
    score
        `score(u, t)` of one point, a vector, and a scalar time; a `ScoreModel` or any function.
    noise
        The process whose laws the score is of.
    dim
        Length of a point.
    num_steps
        Steps of the flow.
    least_noise
        Noise before the last step, which goes to none, in units of the data's sd.
    data_mean, data_sd
        Mean and sd of what the score was trained on, each one number or `(dim,)`.
    center, factor
        Where the score was trained on `u` with `x = center + factor u`: `(dim,)` and a lower
        triangular matrix `(dim, dim)`, or sds `(dim,)`. By default `u` is `x`.
    weight, df
        Weight, in [0, 1), and degrees of freedom, a whole number, of the Student t beside the flow.

    Raises
    ------
    ValueError
        If a size, weight or shape cannot be one.
    TypeError
        If the numbers of steps or dimensions are not whole.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.kernels import independence
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> score = lambda x, t: -x / (1.0 + noise.variance(t))  # of N(0, 1) data
    >>> proposal = flow_proposal(score, noise, 1, num_steps=8)
    >>> x, log_q = proposal.sample_and_log_prob(jax.random.key(0))
    >>> bool(abs(proposal.log_prob(x) - log_q) < 1e-3)
    True
    >>> kernel = independence(lambda x: -0.5 * jnp.sum(x**2), proposal.as_independent())
    >>> state, info = kernel.step(jax.random.key(1), kernel.init(x))
    >>> bool(info.acceptance_rate > 0.5)
    True
    """
    check_count("dim", dim)
    check_count("num_steps", num_steps)
    check_count("df", df)
    if not 0 <= weight < 1:
        raise ValueError(
            f"the heavy-tailed law has weight {weight}; one in [0, 1), such as 0.02, is needed"
        )
    dtype = np.dtype(jnp.result_type(float))
    mean, sd, center = (
        np.broadcast_to(np.asarray(value, dtype), (dim,)) for value in (data_mean, data_sd, center)
    )
    factor = np.asarray(np.ones(dim) if factor is None else factor, dtype)
    factor = np.diag(factor) if factor.ndim == 1 else factor
    if factor.shape != (dim, dim) or not (np.diagonal(factor) > 0).all():
        raise ValueError(
            f"factor has shape {factor.shape}; give sds ({dim},) or a lower triangular matrix "
            f"({dim}, {dim}), with a diagonal above 0"
        )
    lowest = float(least_noise * sd.min())
    plan = _plan(noise, jnp.asarray(mean), jnp.asarray(sd), jnp.asarray(lowest, dtype), num_steps)
    if not 0 < lowest < float(plan.highest):
        raise ValueError(
            f"least_noise is {least_noise:g}, noise of {lowest:g} in the score's units, but it "
            f"must be above 0 and below the process's own largest, {float(plan.highest):g}"
        )
    flow = MonotoneFlow(score, noise, plan.times, plan.ratios, plan.start_mean, plan.start_sd)
    center, factor = jnp.asarray(center), jnp.asarray(np.tril(factor))
    return FlowProposal(flow, center, factor, float(weight), int(df))


def finish(
    proposal: FlowProposal, drafts: Draft, others: Float[Array, "others dim"]
) -> tuple[Float[Array, " drafts"], Float[Array, " others"], Bool[Array, " others"]]:
    """Log densities, in `x`, at drafts and at other points, by flowing back only what has to be.

    Parameters
    ----------
    proposal
        The law.
    drafts
        A batch of its own drafts, leading axis `drafts`.
    others
        Coordinates of points from elsewhere, such as where chains are.

    Returns
    -------
    Log densities at the drafts and at the other points, and whether the way back from a point was
    not found, so that its density is that of the heavy-tailed law alone. There is room for as many
    heavy-tailed drafts as come in all but one of a billion batches; one without room has +inf, and
    is refused.
    """
    num = drafts.log_flow.shape[0]
    mean, spread = num * proposal.weight, np.sqrt(num * proposal.weight)
    room = min(num, int(np.ceil(mean + 6 * spread)) + (proposal.weight > 0))
    which = jnp.argsort(~drafts.is_heavy, stable=True)[:room]
    encoded = jax.vmap(proposal.flow.encode)(jnp.concatenate([others, drafts.u[which]]))
    log_flow = encoded.log_prob
    of_heavy = jnp.full_like(drafts.log_flow, jnp.inf).at[which].set(log_flow[len(others) :])
    of_drafts = jnp.where(drafts.is_heavy, of_heavy, drafts.log_flow)
    mix = jax.vmap(proposal.mix)
    of_others = log_flow[: len(others)]
    return mix(drafts.u, of_drafts), mix(others, of_others), ~jnp.isfinite(of_others)

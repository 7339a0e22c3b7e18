"""Independence proposals: a mixture of a learned and a heavy-tailed distribution.

    q = (1 - w) q_learned + w t_nu

`q_learned` is the distribution of a `MonotoneFlow`, a `DenoisingPath`, a mixture of Gaussians or a
product of such mixtures in whitened coordinates `u`, `x = center + factor u`, and `t_nu` a
multivariate Student t in the same coordinates, of the mean and the scales of the data that it was
learned from. The tails of `q_learned` are about those of a Gaussian. With the second component, of
small weight, `p / q` is bounded for targets whose tails are at most as heavy as those of the t, so
that an independence chain does not get stuck (Hesterberg 1995, doi:10.1080/00401706.1995.10484303;
Owen and Zhou 2000, doi:10.1080/01621459.2000.10473909).
"""

from functools import partial
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.types import RngKey

Point = Float[Array, " dim"]

HEAVY_WEIGHT, HEAVY_DF = 0.02, 5
"""Weight and degrees of freedom of the heavy-tailed component by default."""

START_KEY = 11
"""Seed of the auxiliary variables at the start of a chain."""


@runtime_checkable
class ScoreDistribution(Protocol):
    """A distribution that is sampled with its log density, and can be evaluated at any point.

    The density may be joint with auxiliary variables, divided by their conditional distribution
    given the point. The auxiliary variables are then drawn at every evaluation.
    """

    @property
    def kind(self) -> str:
        """Name of the family, for records."""
        ...

    @property
    def dim(self) -> int:
        """Length of a point."""
        ...

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw and its log density."""
        ...

    def log_prob(self, rng_key: RngKey, u: Point) -> Float[Array, ""]:
        """Log density at a point; -inf where it is 0 or could not be computed."""
        ...


class Draft(NamedTuple):
    """A draw. If it came from the heavy-tailed component its learned density is not evaluated yet.

    Attributes
    ----------
    u
        The draw, in whitened coordinates.
    log_learned
        Log density of the learned distribution, valid where `is_heavy` is False. +inf where it
        could not be computed: the draw must be rejected.
    is_heavy
        Whether the draw came from the heavy-tailed component.
    """

    u: Point
    log_learned: Float[Array, ""]
    is_heavy: Bool[Array, ""]


@final
class LearnedProposal(eqx.Module):
    """An independence proposal, of a learned and a heavy-tailed distribution.

    Made by `flow_proposal`, `path_proposal`, `mixture_proposal` or `product_proposal`.

    Parameters
    ----------
    learned
        The learned distribution, in whitened coordinates `u`.
    center, factor
        `x = center + factor u`; `(dim,)` and lower triangular `(dim, dim)`.
    heavy_mean, heavy_scale
        Location and scales of the heavy-tailed component in `u`, each `(dim,)`.
    weight
        Weight of the heavy-tailed component, in [0, 1).
    df
        Its degrees of freedom, a whole number.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers.proposals import flow_proposal
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> proposal = flow_proposal(lambda x, t: -x / (1 + noise.variance(t)), noise, 2, num_steps=8)
    >>> x, log_q = proposal.sample_and_log_prob(jax.random.key(0))
    >>> x.shape, log_q.shape, proposal.weight
    ((2,), (), 0.02)
    """

    learned: ScoreDistribution
    center: Point
    factor: Float[Array, "dim dim"]
    heavy_mean: Point
    heavy_scale: Point
    weight: float = eqx.field(static=True)
    df: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.learned.dim

    def as_independent(self) -> IndependentProposal:
        """The proposal as `numpyro_score.independence` and `numpyro_score.global_local` take it."""
        start = partial(self.log_prob, jax.random.key(START_KEY))
        return IndependentProposal(self.sample_and_log_prob, start, self.log_prob)

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw and the log density of the proposal there."""
        key_draft, key_weigh = jax.random.split(rng_key)
        draft = self.draft(key_draft)
        if self.weight == 0:
            return self.unwhiten(draft.u), self.mix(draft.u, draft.log_learned)
        of_heavy = self.learned.log_prob(key_weigh, draft.u)
        log_learned = jnp.where(draft.is_heavy, of_heavy, draft.log_learned)
        return self.unwhiten(draft.u), self.mix(draft.u, log_learned)

    def log_prob(self, rng_key: RngKey, x: Point) -> Float[Array, ""]:
        """Log density of the proposal at one point, auxiliary variables drawn by the key."""
        u = self.whiten(x)
        return self.mix(u, self.learned.log_prob(rng_key, u))

    # -- in parts, for many draws at a time
    # ---------------------------------------------------------

    def draft(self, rng_key: RngKey) -> Draft:
        """One draw, with the part of its density that needs no further evaluation."""
        key_learned, key_heavy, key_which = jax.random.split(rng_key, 3)
        dtype = self.center.dtype
        u, log_learned = self.learned.sample_and_log_prob(key_learned)
        # a density that could not be computed is 0 in `log_prob`: such a draw must be rejected
        log_learned = jnp.where(log_learned > -jnp.inf, log_learned, jnp.inf)
        if self.weight == 0:
            return Draft(u, log_learned, jnp.zeros((), bool))
        is_heavy = jax.random.uniform(key_which, dtype=dtype) < self.weight
        # a chi-square of few degrees of freedom is a sum of squares, and compiles to no loop
        normal = jax.random.normal(key_heavy, (self.dim + self.df,), dtype)
        heavy = normal[: self.dim] / jnp.sqrt(jnp.mean(normal[self.dim :] ** 2))
        heavy = self.heavy_mean + self.heavy_scale * heavy
        return Draft(jnp.where(is_heavy, heavy, u), log_learned, is_heavy)

    def mix(self, u: Point, log_learned: Float[Array, ""]) -> Float[Array, ""]:
        """Log density of the proposal in `x`, from that of the learned distribution in `u`."""
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        if self.weight == 0:
            return log_learned - log_det
        log_heavy = jnp.asarray(self._heavy(u.dtype).log_prob(u), u.dtype)
        log_weights = np.log1p(-self.weight), np.log(self.weight)
        return jnp.logaddexp(log_weights[0] + log_learned, log_weights[1] + log_heavy) - log_det

    def unwhiten(self, u: Point) -> Point:
        """The point with whitened coordinates `u`."""
        return self.center + self.factor @ u

    def whiten(self, x: Point) -> Point:
        """Whitened coordinates of a point."""
        return solve_triangular(self.factor, x - self.center, lower=True)

    def _heavy(self, dtype: Any) -> dist.MultivariateStudentT:
        df = jnp.asarray(self.df, dtype)
        scales = jnp.diag(self.heavy_scale.astype(dtype))
        return dist.MultivariateStudentT(
            df, self.heavy_mean.astype(dtype), scales, validate_args=False
        )


def location_and_scales(data: Any, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sds of points, `(dim,)` each, for the heavy-tailed component.

    Parameters
    ----------
    data
        Points `u`, `(num, dim)`.
    dim
        Of the learned distribution.

    Raises
    ------
    ValueError
        The shape is another, or there is no point.
    """
    points = np.asarray(data)
    if points.ndim != 2 or points.shape[1] != dim or not len(points):
        raise ValueError(f"data has shape {points.shape}; give points (num, {dim})")
    return points.mean(axis=0), points.std(axis=0)


def with_defensive(
    learned: ScoreDistribution,
    heavy: tuple[Any, Any],
    center: Any,
    factor: Any,
    weight: float,
    df: int,
) -> LearnedProposal:
    """The proposal of a learned distribution and a heavy-tailed one, after checks.

    Parameters
    ----------
    learned
        In whitened coordinates.
    heavy
        Location and scales of the heavy-tailed component, `(dim,)` each: those of the data.
    center, factor, weight, df
        As in `LearnedProposal`; of `factor` the diagonal suffices, and None is the identity.

    Raises
    ------
    ValueError, TypeError
        The weight, the degrees of freedom, a shape, or a location or scale is not valid.
    """
    check_whole("df", df)
    if not 0 <= weight < 1:
        raise ValueError(
            f"the heavy-tailed component has weight {weight}; give one in [0, 1), such as 0.02"
        )
    dim, dtype = learned.dim, np.dtype(jnp.result_type(float))
    center = np.broadcast_to(np.asarray(center, dtype), (dim,))
    factor = np.asarray(np.ones(dim) if factor is None else factor, dtype)
    factor = np.diag(factor) if factor.ndim == 1 else factor
    if factor.shape != (dim, dim) or not (np.diagonal(factor) > 0).all():
        raise ValueError(
            f"factor has shape {factor.shape}; give sds ({dim},) or a lower triangular matrix "
            f"({dim}, {dim}), with a diagonal above 0"
        )
    mean, scale = (np.asarray(value, dtype) for value in heavy)
    if weight > 0 and not (np.isfinite([mean, scale]).all() and (scale > 0).all()):
        raise ValueError(
            f"the heavy-tailed component has means {mean} and sds {scale}, those of the data; give "
            "finite points that differ in every coordinate"
        )
    places = jnp.asarray(center), jnp.asarray(np.tril(factor))
    moments = jnp.asarray(mean), jnp.asarray(scale)
    return LearnedProposal(learned, *places, *moments, float(weight), int(df))


def finish(
    proposal: LearnedProposal, keys: Any, drafts: Draft, positions: Float[Array, "chain dim"]
) -> tuple[Float[Array, " chain"], Float[Array, " chain"], Bool[Array, " chain"]]:
    """Log densities in `x` at drafts and at the chains' positions, evaluating as few as possible.

    Parameters
    ----------
    proposal
        The proposal.
    keys
        A key for each chain.
    drafts
        One draft of the proposal for each chain, leading axis `chain`.
    positions
        Whitened coordinates of the chains' positions.

    Returns
    -------
    Log densities at the drafts and at the positions, and whether the learned density at a position
    could not be computed, so that only the heavy-tailed component counts there. Heavy-tailed drafts
    are evaluated up to a number that about one in a million batches exceeds; those beyond it have
    density +inf and are rejected.
    """
    num = drafts.log_learned.shape[0]
    which = _heavy_rows(proposal, drafts)
    keys = jax.vmap(jax.random.split)(keys)
    keys = jnp.concatenate([keys[:, 0], keys[which, 1]])
    log_learned = jax.vmap(proposal.learned.log_prob)(
        keys, jnp.concatenate([positions, drafts.u[which]])
    )
    of_drafts = _with_heavy(drafts, which, log_learned[num:])
    mix = jax.vmap(proposal.mix)
    of_positions = log_learned[:num]
    return mix(drafts.u, of_drafts), mix(positions, of_positions), ~jnp.isfinite(of_positions)


def weigh(proposal: LearnedProposal, rng_key: RngKey, drafts: Draft) -> Float[Array, " num"]:
    """Log densities in `x` at drafts, heavy-tailed ones evaluated as in `finish`."""
    which = _heavy_rows(proposal, drafts)
    keys = jax.random.split(rng_key, len(which))
    of_heavy = jax.vmap(proposal.learned.log_prob)(keys, drafts.u[which])
    return jax.vmap(proposal.mix)(drafts.u, _with_heavy(drafts, which, of_heavy))


def _heavy_rows(proposal: LearnedProposal, drafts: Draft) -> Int[Array, " row"]:
    """As many rows as there is room for, the heavy-tailed ones first."""
    num = drafts.log_learned.shape[0]
    mean, spread = num * proposal.weight, np.sqrt(num * proposal.weight)
    room = min(num, int(np.ceil(mean + 6 * spread)) + (proposal.weight > 0))
    return jnp.argsort(~drafts.is_heavy, stable=True)[:room]


def _with_heavy(
    drafts: Draft, which: Int[Array, " row"], log_learned: Float[Array, " row"]
) -> Float[Array, " num"]:
    """Learned log densities of all drafts, from those of the rows `which`."""
    of_heavy = jnp.full_like(drafts.log_learned, jnp.inf).at[which].set(log_learned)
    return jnp.where(drafts.is_heavy, of_heavy, drafts.log_learned)

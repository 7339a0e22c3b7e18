"""Measures that need the density's score, or the density, and no other draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.diagnostics.discrepancy.bootstrap import Blocks, cut
from numpyro_score.diagnostics.discrepancy.perturbation import find_density_modes, perturb
from numpyro_score.diagnostics.discrepancy.positions import Points, gradients_at, scores_at
from numpyro_score.diagnostics.discrepancy.rows import BY_SCORE, Row
from numpyro_score.diagnostics.discrepancy.stein import Ksd, ksd, whiten
from numpyro_score.types import LogDensityFn, ScoreFn

MAX_DIM = 100
"""Dimensions up to which modes of the density are looked for: each step takes a Hessian."""


class ByScore(NamedTuple):
    """Rows by measure, and the modes of the density that were found."""

    rows: dict[str, Row]
    num_modes: int


def _row(result: Ksd, num_draws: int) -> Row:
    return Row(
        value=result.value,
        floor=result.floor,
        v=result.v,
        u=result.u,
        p_value=result.p_value,
        num_draws=num_draws,
    )


def by_score(
    points: Points,
    tau: float,
    logdensity_fn: LogDensityFn | None,
    score_fn: ScoreFn | None,
    rng: np.random.Generator,
) -> ByScore:
    """Kernel Stein discrepancies, and the one that tests the weights of modes.

    Parameters
    ----------
    points
        Finite draws, in the coordinates of the density.
    tau
        Their longest autocorrelation time.
    logdensity_fn, score_fn
        Point `(dim,)` -> log density, and its gradient; at least one of them. The score is the
        gradient of the density where it is not given.
    rng
        Of the bootstrap, the starts of the search for modes, and the jumps.

    Raises
    ------
    ValueError
        If a score is not finite, or of another shape than a point.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 200, 2))
    >>> rows, _ = by_score(x, 1.0, None, lambda x: -x, np.random.default_rng(0))
    >>> rows["ksd"].p_value > 0.01, rows["ksd_perturbed"].reason
    (True, 'it takes the log density, and not its score alone')
    """
    num_chains, num_draws, dim = points.shape
    flat = points.reshape(-1, dim)
    blocks = cut(num_chains, num_draws, tau)

    def scores(x: Float[np.ndarray, "draws dim"]) -> Float[np.ndarray, "draws dim"]:
        if score_fn is not None:
            return scores_at(score_fn, x)
        assert logdensity_fn is not None
        return gradients_at(logdensity_fn, x)

    white = whiten(flat, scores(flat))
    rows = {
        name: _row(ksd(*white, blocks, rng, with_moments=with_moments), len(flat))
        for name, with_moments in zip(BY_SCORE, (False, True), strict=False)
    }
    if logdensity_fn is None:
        why = "it takes the log density, and not its score alone"
        return ByScore(rows | {"ksd_perturbed": Row(reason=why)}, 0)
    if dim > MAX_DIM:
        why = f"modes are looked for in at most {MAX_DIM} dimensions"
        return ByScore(rows | {"ksd_perturbed": Row(reason=why)}, 0)
    key = jax.random.key(int(rng.integers(2**31)))
    key_modes, key_jumps = jax.random.split(key)
    modes = find_density_modes(logdensity_fn, flat, key_modes)
    num_modes = len(modes.centres)
    if num_modes < 2:
        why = "no second mode of the density was found, from the draws or around them"
        return ByScore(rows | {"ksd_perturbed": Row(reason=why)}, num_modes)
    moved: Float[Array, "draws dim"] = perturb(key_jumps, jnp.asarray(flat), logdensity_fn, modes)
    result = _perturbed(np.asarray(moved, np.float64), scores, blocks, rng)
    return ByScore(rows | {"ksd_perturbed": _row(result, len(flat))}, num_modes)


def _perturbed(
    moved: Float[np.ndarray, "draws dim"],
    scores: ScoreFn,
    blocks: Blocks,
    rng: np.random.Generator,
) -> Ksd:
    return ksd(*whiten(moved, scores(moved)), blocks, rng, with_moments=True)

"""A wild bootstrap of sums over pairs of draws that respects their autocorrelation.

For a kernel of mean zero in each argument, `sum_ij k(x_i, x_j)` has the distribution, under the
null hypothesis, of `sum_ij w_i w_j k(x_i, x_j)` with random signs `w` that are as correlated as the
draws (Chwialkowski, Sejdinovic and Gretton 2014, arXiv:1408.5404; for the Stein discrepancy
Chwialkowski, Strathmann and Gretton 2016, arXiv:1602.02964). Here a sign is shared by a stretch of
`TAUS_PER_BLOCK` autocorrelation times of one chain (blocks, as Shao 2010, doi:10.1198/jasa.2009.
tm08744, discusses), and pairs within a stretch are left out on both sides. Signs that change at
random times have a second use of the same draws in their variance, which in many dimensions hides
all but the largest discrepancies; with stretches the variance of what is left is unbiased, and
needs sums over pairs of stretches only.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

TAUS_PER_BLOCK = 10.0
"""Autocorrelation times of a stretch with one sign."""

MAX_BLOCKS = 512
"""Blocks that draws are cut into, at most, if there are not more chains."""

NUM_BOOTSTRAP = 10_000
"""Random signs that are tried."""

ROUNDING = 1e-6
"""Error of a sum, in units of the sum of its terms' sizes."""


class Blocks(NamedTuple):
    """Consecutive draws of chains.

    Attributes
    ----------
    place
        Where the draws of each block are among all, chain after chain; any number where
        `is_draw` is False.
    is_draw
        Whether there is a draw.
    stretch
        The stretch that each block belongs to, which shares a sign.
    """

    place: Int[np.ndarray, "block draw"]
    is_draw: Bool[np.ndarray, "block draw"]
    stretch: Int[np.ndarray, " block"]

    @property
    def num_stretches(self) -> int:
        """How many signs there are."""
        return int(self.stretch.max()) + 1


def cut(num_chains: int, num_draws: int, tau: float) -> Blocks:
    """Cut chains into blocks, and blocks into stretches of a sign.

    Parameters
    ----------
    num_chains, num_draws
        Shape of the draws.
    tau
        Their longest autocorrelation time.

    Examples
    --------
    >>> blocks = cut(num_chains=2, num_draws=100, tau=2.0)
    >>> blocks.place.shape, blocks.num_stretches
    ((200, 1), 10)
    """
    length = -(-num_draws // max(MAX_BLOCKS // num_chains, 1))
    per_chain = -(-num_draws // length)
    within = np.arange(per_chain * length).reshape(per_chain, length)
    place = within + num_draws * np.arange(num_chains)[:, None, None]
    num_stretches = int(np.clip(num_draws / (TAUS_PER_BLOCK * max(tau, 1.0)), 1, per_chain))
    if tau <= 1.0:
        num_stretches = per_chain
    stretch = np.arange(per_chain) * num_stretches // per_chain
    is_draw = np.broadcast_to(within < num_draws, place.shape)
    return Blocks(
        np.minimum(place, num_chains * num_draws - 1).reshape(-1, length),
        is_draw.reshape(-1, length),
        (stretch + num_stretches * np.arange(num_chains)[:, None]).ravel(),
    )


def join(left: Blocks, right: Blocks) -> Blocks:
    """Blocks of two samples, the draws of the second numbered after those of the first.

    Parameters
    ----------
    left, right
        Blocks of either.

    Examples
    --------
    >>> blocks = join(cut(1, 600, 1.0), cut(1, 3, 1.0))
    >>> blocks.place.shape, blocks.num_stretches, int(blocks.place[blocks.is_draw].max())
    ((303, 2), 303, 602)
    """
    length = max(left.place.shape[1], right.place.shape[1])
    num_left = int(left.place[left.is_draw].max()) + 1

    def filled(a: np.ndarray) -> np.ndarray:
        return np.pad(a, ((0, 0), (0, length - a.shape[1])))

    return Blocks(
        np.concatenate([filled(left.place), filled(right.place + num_left)]),
        np.concatenate([filled(left.is_draw), filled(right.is_draw)]),
        np.concatenate([left.stretch, right.stretch + left.num_stretches]),
    )


def p_value(
    sums: Float[np.ndarray, "block block"], blocks: Blocks, rng: np.random.Generator
) -> float:
    """Probability of sums over pairs as large where the kernel has mean zero.

    Parameters
    ----------
    sums
        Of the kernel over the pairs of draws in two blocks.
    blocks
        What they are sums over.
    rng
        Of the signs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=100)
    >>> blocks = cut(1, 100, 1.0)
    >>> p_value(np.outer(x, x), blocks, rng) > 0.01, p_value(np.outer(x + 1, x + 1), blocks, rng)
    (True, 9.999...e-05)
    """
    num = blocks.num_stretches
    joined = np.zeros((num, num))
    np.add.at(joined, (blocks.stretch[:, None], blocks.stretch), sums)
    np.fill_diagonal(joined, 0.0)
    # single precision, of sums in units of their size, is twice as fast
    scale = np.abs(joined).sum()
    joined = (joined / max(scale, np.finfo(float).tiny)).astype(np.float32)
    signs = rng.integers(0, 2, size=(NUM_BOOTSTRAP, num), dtype=np.int8).astype(np.float32) * 2 - 1
    tried = np.einsum("bi,bi->b", signs @ joined, signs)
    # equal up to rounding is as large
    observed = joined.sum(dtype=np.float64) - ROUNDING
    return float((1 + np.sum(tried >= observed)) / (1 + NUM_BOOTSTRAP))

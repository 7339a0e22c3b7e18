"""Third-party algorithms in a comparison: one function, with its own adaptation.

Such a function is given a density, starting points and what it may cost, and returns draws and
what they cost. How it adapts, and when it stops adapting, is up to it; all of it is
counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.diagnostics.cost import Costs
from numpyro_score.run.budget import Budget
from numpyro_score.types import LogDensityFn, RngKey


class Reference(NamedTuple):
    """The distribution that annealing and nested sampling begin with.

    Attributes
    ----------
    draw
        Random key -> a point `(dim,)`.
    logdensity_fn
        Its log density.

    Examples
    --------
    >>> import jax
    >>> wide = Reference(lambda key: 10 * jax.random.normal(key, (2,)), lambda x: -(x @ x) / 200)
    >>> wide.draw(jax.random.key(0)).shape
    (2,)
    """

    draw: Callable[[RngKey], Float[Array, " dim"]]
    logdensity_fn: LogDensityFn


class Task(NamedTuple):
    """What an algorithm is to do.

    Attributes
    ----------
    logdensity_fn
        Log density of an unconstrained position `(dim,)`.
    positions
        Starting points, one for each chain.
    reference
        What to anneal from: the prior of a model, a wide Gaussian elsewhere.
    rng_key
        One key.
    num_warmup
        Steps of adaptation of each chain.
    num_samples
        Draws of each chain, at most; None for no limit.
    budget
        What adaptation and draws may cost in all, or None.

    Examples
    --------
    >>> import jax
    >>> prior = Reference(lambda key: jax.random.normal(key, (2,)), lambda x: -(x @ x) / 2)
    >>> start = np.zeros((4, 2), np.float32)
    >>> task = Task(lambda x: -(x @ x) / 2, start, prior, jax.random.key(0), 100, 500, None)
    >>> task.num_chains
    4
    """

    logdensity_fn: LogDensityFn
    positions: Float[Array, "chain dim"]
    reference: Reference
    rng_key: RngKey
    num_warmup: int
    num_samples: int | None
    budget: Budget | None

    @property
    def num_chains(self) -> int:
        """How many chains, or points of a population."""
        return self.positions.shape[0]


def check_directions(task: Task) -> None:
    """Check that a position has directions, as algorithms with a momentum of fixed length need.

    In one dimension such a momentum does not turn, and chains stay where they are.

    Raises
    ------
    ValueError
        If it has one dimension.
    """
    if task.positions.shape[1] < 2:
        raise ValueError(
            "the target has 1 dimension, but a momentum of fixed length needs at least two; leave "
            "it out for this algorithm"
        )


class Drawn(NamedTuple):
    """What an algorithm returns.

    Attributes
    ----------
    positions
        Draws without those of the adaptation.
    num_grad, num_logdensity
        Gradients, and log densities without a gradient, of each draw.
    spent
        The cost of all; of it, the counts of the draws are those above.

    Examples
    --------
    >>> ones = np.ones((4, 500), int)
    >>> spent = Costs(2000.0, 0.0, 400.0, 0.0, 1.0, 0.1, 0.5)
    >>> Drawn(np.zeros((4, 500, 2), np.float32), ones, 0 * ones, spent).spent.evaluations
    4800.0
    """

    positions: Float[np.ndarray, "chain draw dim"]
    num_grad: Int[np.ndarray, "chain draw"]
    num_logdensity: Int[np.ndarray, "chain draw"]
    spent: Costs


@final
@dataclass(frozen=True)
class ExternalSampler:
    """A third-party algorithm, as a value of the `kernels` of `compare`.

    Parameters
    ----------
    draw
        The algorithm; a function at the top of a module, where several processes are to run it.
    is_exact
        Whether the target is the stationary distribution of its draws.
    is_independent
        Whether its draws do not depend on each other, so that R-hat does not apply.

    Examples
    --------
    >>> def exact_draws(task):
    ...     rng = np.random.default_rng(0)
    ...     shape = (task.num_chains, task.num_samples)
    ...     ones = np.ones(shape, int)
    ...     spent = Costs(ones.sum(), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    ...     x = rng.normal(size=(*shape, task.positions.shape[1])).astype("float32")
    ...     return Drawn(x, ones, 0 * ones, spent)
    >>> ExternalSampler(exact_draws, is_exact=True, is_independent=True).is_exact
    True
    """

    draw: Callable[[Task], Drawn]
    is_exact: bool
    is_independent: bool = False

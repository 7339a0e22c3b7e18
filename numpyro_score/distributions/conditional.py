"""`LearnedConditional`: the distribution of values given a condition, learned from pairs.

If the values are data and the conditions are parameters of a simulator, it is a likelihood (neural
likelihood estimation: Papamakarios, Sterratt and Murray 2019, arXiv:1805.07226; with a score:
Sharrock et al. 2022, arXiv:2210.04872). If the values are parameters and the conditions are data,
it is an amortised posterior.
"""

from pathlib import Path
from typing import Any, Unpack

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import constraints

from numpyro_score.distributions.conditional_flow import ConditionalFlow
from numpyro_score.distributions.coverage import kept_points
from numpyro_score.distributions.files import read, write
from numpyro_score.distributions.learned import LearnedDistribution
from numpyro_score.distributions.supports import Variable, as_event
from numpyro_score.distributions.training import FlowOptions, check_options, train_flow
from numpyro_score.distributions.values import as_values
from numpyro_score.types import RngKey


class LearnedConditional:
    """A conditional distribution, learned from pairs; called with conditions, it is a distribution.

    As the likelihood of a simulator, write `numpyro.sample("y", likelihood(theta), obs=y)` in a
    model; the density is differentiable in `theta` and in `y`. Construct it by `fit` or `load`.

    Parameters
    ----------
    flow
        The conditional flow.
    support, event_shape, variables, points
        As in `LearnedDistribution`; `points` are conditions that it was trained on.

    Examples
    --------
    >>> import jax, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> theta = rng.normal(size=(1000, 1))
    >>> y = theta**2 + 0.1 * rng.normal(size=(1000, 1))
    >>> likelihood = LearnedConditional.fit(
    ...     y, theta, rng_key=jax.random.key(0), num_steps=20, progress=False
    ... )
    >>> likelihood(theta[:5]).batch_shape, likelihood(theta[:5]).log_prob(y[:5]).shape
    ((5,), (5,))
    """

    def __init__(
        self,
        flow: ConditionalFlow,
        support: Any = constraints.real,
        event_shape: tuple[int, ...] | None = None,
        *,
        variables: tuple[Variable, ...] = (),
        points: Float[Array, "num dim"] | None = None,
    ) -> None:
        self.flow, self.variables, self.points = flow, tuple(variables), points
        self.event_shape = (flow.dim,) if event_shape is None else tuple(event_shape)
        self.support = as_event(support, len(self.event_shape))

    @classmethod
    def fit(
        cls,
        values: Any,
        conditions: Float[Any, "num condition"],
        *,
        rng_key: RngKey,
        support: Any = None,
        **options: Unpack[FlowOptions],
    ) -> "LearnedConditional":
        """Learn the distribution of values given conditions, from pairs of a value and a condition.

        Parameters
        ----------
        values
            An array `(num, *event)`, or a dict of arrays by variable.
        conditions
            Real vectors `(num, condition)`, of any scale.
        rng_key, support, options
            As in `LearnedDistribution.fit`.

        Raises
        ------
        ValueError
            As in `LearnedDistribution.fit`, or if conditions are not vectors of finite numbers, or
            not as many as values.

        Warns
        -----
        UserWarning
            If values look positive and no support is given, or have so few distinct ones that they
            look discrete.
        """
        check_options(options)
        learned = as_values(values, support)
        given = np.asarray(conditions, np.float64)
        num = len(learned.unconstrained)
        if given.ndim != 2 or len(given) != num or not np.isfinite(given).all():
            raise ValueError(
                f"conditions have shape {given.shape}; give finite vectors, ({num}, condition), "
                "one for every value"
            )
        flow = train_flow(learned.unconstrained, given, rng_key, **options)
        assert isinstance(flow, ConditionalFlow)
        return cls(
            flow,
            learned.support,
            learned.event_shape,
            variables=learned.variables,
            points=kept_points(given),
        )

    @property
    def condition_size(self) -> int:
        """Length of a condition vector."""
        return self.flow.mean.shape[0]

    def __call__(self, condition: Any) -> LearnedDistribution:
        """The distribution at conditions `(*batch, condition)`, of batch shape `(*batch)`.

        Raises
        ------
        ValueError
            If conditions have another length than those of `fit`.
        """
        condition = jnp.asarray(condition, self.flow.mean.dtype)
        if condition.shape[-1:] != (self.condition_size,):
            raise ValueError(
                f"the condition has shape {condition.shape}, but conditions of length "
                f"{self.condition_size} were learned from; give shape "
                f"(..., {self.condition_size}), such as jnp.stack([a, b], axis=-1)"
            )
        return LearnedDistribution(
            self.flow,
            self.support,
            self.event_shape,
            variables=self.variables,
            condition=condition,
        )

    def save(self, path: str | Path) -> Path:
        """Write it to one file, which `load` reads.

        Raises
        ------
        TypeError
            If the support cannot be written to a file.
        """
        return write(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "LearnedConditional":
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it holds something else.
        """
        flow, about = read(path, "LearnedConditional", ConditionalFlow)
        return cls(flow, **about)

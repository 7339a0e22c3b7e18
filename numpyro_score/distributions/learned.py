"""`LearnedDistribution`: a NumPyro distribution learned from draws.

A score at every noise level is trained on the draws, in unconstrained and whitened coordinates. Its
probability flow, in invertible steps, maps Gaussian noise to draws. This flow is mixed with a
Student t of small weight, which keeps the density above 0 far from the draws. The density is
exactly that of `sample`, and is normalised, however well the score was learned.

The flow: `samplers/proposals/monotone.py` (Song et al. 2021, arXiv:2011.13456). The Student t:
Hesterberg 1995, doi:10.1080/00401706.1995.10484303.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import biject_to, constraints
from numpyro.distributions.util import validate_sample
from numpyro.util import is_prng_key

from numpyro_score.distributions.conditional_flow import ConditionalFlow
from numpyro_score.distributions.coverage import Coverage, coverage_of, kept_points
from numpyro_score.distributions.density import Flow, draws, log_density
from numpyro_score.distributions.files import read, write
from numpyro_score.distributions.supports import Variable, as_event
from numpyro_score.distributions.training import FlowOptions, check_options, train_flow
from numpyro_score.distributions.values import as_values
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.types import RngKey


class LearnedDistribution(dist.Distribution):
    """A distribution learned from draws, for `numpyro.sample`; its density is that of its sampler.

    Construct it by `fit` or `load`; the constructor takes a flow of your own.

    By default, chains start uniformly in [-2, 2] in unconstrained coordinates. If the draws are
    in another region, give the kernel `init_strategy=numpyro.infer.init_to_sample`.

    Parameters
    ----------
    flow
        A proposal of `flow_proposal` over unconstrained vectors; or, from `LearnedConditional`, a
        conditional flow.
    support
        The support, a constraint of `numpyro.distributions.constraints`; real by default. A
        scalar constraint applies to every number of an event.
    event_shape
        Shape of a value; by default that of the flow's points.
    variables
        Names and shapes of the variables that a value concatenates, for `split`.
    points
        Unconstrained points `(num, dim)` that the flow was trained on, for `coverage`.
    condition
        Conditions `(*batch, condition)`, for a flow that takes one.
    validate_args
        As in any NumPyro distribution.

    Raises
    ------
    TypeError
        If the flow is not one of `flow_proposal`, or the support is not a constraint.
    ValueError
        If the event shape does not fit the support and the flow, or the condition is missing.

    Examples
    --------
    >>> import jax, numpy as np, numpyro
    >>> earlier = np.random.default_rng(0).gamma(4.0, size=(1000, 2))
    >>> prior = LearnedDistribution.fit(
    ...     earlier,
    ...     rng_key=jax.random.key(0),
    ...     support=constraints.positive,
    ...     num_steps=20,
    ...     progress=False,
    ... )
    >>> prior.event_shape, prior.sample(jax.random.key(1), (3,)).shape
    ((2,), (3, 2))
    >>> def model():
    ...     numpyro.sample("theta", prior)
    """

    pytree_data_fields = ("flow", "points", "condition", "_support")
    pytree_aux_fields = ("variables",)

    def __init__(
        self,
        flow: Flow,
        support: Any = constraints.real,
        event_shape: tuple[int, ...] | None = None,
        *,
        variables: tuple[Variable, ...] = (),
        points: Float[Array, "num dim"] | None = None,
        condition: Float[Array, "*batch condition"] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        is_conditional = isinstance(flow, ConditionalFlow)
        proposal = flow.flow if isinstance(flow, ConditionalFlow) else flow
        if not isinstance(getattr(proposal, "learned", None), MonotoneFlow):
            raise TypeError(
                f"the flow is a {type(flow).__name__}; give a proposal of flow_proposal, whose "
                "density is a function of the point, or draws to LearnedDistribution.fit"
            )
        if is_conditional == (condition is None):
            raise ValueError("a flow that takes a condition needs one, and no other flow does")
        event_shape = (flow.dim,) if event_shape is None else tuple(event_shape)
        self._support = as_event(support, len(event_shape))
        inner = biject_to(self._support).inverse_shape(event_shape)
        if math.prod(inner) != flow.dim:
            raise ValueError(
                f"values of shape {event_shape} with support {support} have {math.prod(inner)} "
                f"unconstrained coordinates, but the flow has {flow.dim}"
            )
        self.flow, self.variables = flow, tuple(variables)
        self.points, self.condition = points, condition
        batch_shape = () if condition is None else condition.shape[:-1]
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @classmethod
    def fit(
        cls,
        data: Any,
        *,
        rng_key: RngKey,
        support: Any | Mapping[str, Any] | None = None,
        **options: Unpack[FlowOptions],
    ) -> "LearnedDistribution":
        """Learn the distribution of draws.

        Parameters
        ----------
        data
            An array of draws `(num, *event)`, a dict of draws by variable, a DataTree or Dataset,
            or a fitted `numpyro.infer.MCMC`. Several variables are concatenated to one vector, in
            their order; `split` separates them again.
        rng_key
            For the training.
        support
            The support of the draws of an array, or a dict of supports by variable. By default
            the supports of the model of an MCMC, and otherwise the real numbers.
        options
            Of the network, its training and the map, by name, described in
            `numpyro_score.distributions.FlowOptions`: `width`, `depth`, `num_steps`, `checkpoint`,
            `progress`, `num_flow_steps`, `weight`, `df`.

        Raises
        ------
        ValueError
            If draws are too few, not finite, discrete or outside of the support, or single
            precision does not resolve their spread at their location.
        TypeError
            If data have none of these types, or an option is unknown.

        Warns
        -----
        UserWarning
            If draws look positive and no support is given, or have so few distinct values that
            they look discrete.
        """
        check_options(options)
        values = as_values(data, support)
        flow = train_flow(values.unconstrained, None, rng_key, **options)
        return cls(
            flow,
            values.support,
            values.event_shape,
            variables=values.variables,
            points=kept_points(values.unconstrained),
        )

    @property
    def support(self) -> Any:
        """The support, which determines the transform of a site in NumPyro."""
        return self._support

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape `sample_shape + batch_shape + event_shape`."""
        assert is_prng_key(key)
        shape = (*sample_shape, *self.batch_shape)
        u = draws(self.flow, key, shape, self.condition)
        transform = biject_to(self._support)
        return transform(u.reshape(*shape, *transform.inverse_shape(self.event_shape)))

    @validate_sample
    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        """Log density, differentiable in the value.

        The flow is inverted by Newton's method; the derivative of the inverse is exact, by the
        implicit function theorem.
        """
        del intermediates
        value = jnp.asarray(value, jnp.result_type(float))
        transform = biject_to(self._support)
        u = transform.inv(value)
        volume = transform.log_abs_det_jacobian(u, value)
        shape = value.shape[: value.ndim - len(self.event_shape)]
        return log_density(self.flow, u.reshape(*shape, -1), self.condition) - volume

    def split(self, value: Any) -> dict[str, Array]:
        """Separate values `(*batch, *event)` into a dict of the variables that they concatenate.

        Raises
        ------
        ValueError
            If it was learned from an array, without names of variables.
        """
        if not self.variables:
            raise ValueError(
                "the distribution was learned from an array, without names of variables"
            )
        value = jnp.asarray(value)
        batch = value.shape[: value.ndim - len(self.event_shape)]
        ends = np.cumsum([variable.size for variable in self.variables])[:-1].tolist()
        parts = jnp.split(value.reshape(*batch, -1), ends, axis=-1)
        return {
            variable.name: part.reshape(*batch, *variable.shape)
            for variable, part in zip(self.variables, parts, strict=True)
        }

    def coverage(self, data: Any, name: str | None = None) -> Coverage:
        """Whether draws stay in the region of the training draws; see `Coverage`.

        Parameters
        ----------
        data
            Draws of a site with this distribution: a DataTree or Dataset, an MCMC, a dict, or an
            array `(num, *event)` or `(chain, draw, *event)`.
        name
            The site's name, if several have this shape.

        Raises
        ------
        ValueError
            If there is no such site, or the distribution has no training points.

        Warns
        -----
        UserWarning
            If a share of more than .05 lies outside of the region.
        """
        return coverage_of(self, data, name)

    def save(self, path: str | Path) -> Path:
        """Write the distribution to one file, which `load` reads without executing code.

        Raises
        ------
        TypeError
            If the support cannot be written to a file.
        ValueError
            If the distribution is that of a `LearnedConditional` at a condition.
        """
        if self.condition is not None:
            raise ValueError(
                "the distribution is that of a LearnedConditional at a condition; save the "
                "LearnedConditional"
            )
        return write(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "LearnedDistribution":
        """Read the distribution that `save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it holds something else.
        """
        flow, about = read(path, "LearnedDistribution", LearnedProposal)
        return cls(flow, **about)

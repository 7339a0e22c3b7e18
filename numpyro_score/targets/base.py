"""The interface of targets: log density, NumPyro model, known expectations, exact draws.

A target is a density `p(x)` known up to a constant. `logdensity_fn` is its log density on a flat
unconstrained vector `(dim,)`; `model` is the same density as a NumPyro model, whose unconstrained
sites, raveled in the order of `jax.flatten_util.ravel_pytree` (sites sorted by name), are that
vector.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Shaped
from numpyro.distributions import constraints

from numpyro_score.checks import check_whole
from numpyro_score.targets.expectation import Expectation
from numpyro_score.targets.flat import flat_logdensity
from numpyro_score.types import LogDensityFn, RngKey

type Model = Callable[..., Any]
"""A callable of NumPyro primitives."""


@eqx.filter_jit
def _draw_many(
    draw_fn: Callable[[RngKey], dict[str, Any]], rng_keys: Shaped[Array, "num_samples ..."]
) -> dict[str, Shaped[Array, "num_samples ..."]]:
    return jax.vmap(draw_fn)(rng_keys)


class Target(eqx.Module):
    """A distribution to sample: the interface of `DensityTarget` and `ModelTarget`.

    Attributes
    ----------
    name
        short identifier.
    description
        the definition with its constants, which says whether they are sds or variances.
    dim
        length of the flat unconstrained position.
    model, model_args, model_kwargs
        a NumPyro model and what it is called with.
    logdensity_fn
        flat unconstrained position `(dim,)` -> unnormalised log density `()`.
    expectations
        expectations under the target whose values are known.
    draw_fn
        random key -> one exact draw of every variable, or None if there is no exact sampler.

    The callables are plain functions or `functools.partial`s of them, so that a target pickles, and
    `logdensity_fn` and `model` hash by identity as `jax.jit` requires.

    Raises
    ------
    ValueError
        `dim` is less than 1, or two expectations of a variable have the same name.

    Examples
    --------
    >>> from numpyro_score.targets import gumbel
    >>> target = gumbel()
    >>> isinstance(target, Target), target.dim, [e.name for e in target.expectations]
    (True, 2, ['mean', 'second_moment'])
    """

    name: eqx.AbstractVar[str]
    description: eqx.AbstractVar[str]
    dim: eqx.AbstractVar[int]
    model: eqx.AbstractVar[Model]
    model_args: eqx.AbstractVar[tuple[Any, ...]]
    model_kwargs: eqx.AbstractVar[dict[str, Any]]
    logdensity_fn: eqx.AbstractVar[LogDensityFn]
    expectations: eqx.AbstractVar[tuple[Expectation, ...]]
    draw_fn: eqx.AbstractVar[Callable[[RngKey], dict[str, Any]] | None]

    @property
    def has_exact_draws(self) -> bool:
        """Whether `sample` can make exact independent draws."""
        return self.draw_fn is not None

    def sample(
        self, rng_key: RngKey, num_samples: int
    ) -> dict[str, Shaped[Array, "num_samples ..."]]:
        """Exact independent draws of every variable that the expectations read.

        Parameters
        ----------
        rng_key
            one random key.
        num_samples
            how many draws, at least 1.

        Returns
        -------
        Variable name -> draws `(num_samples, *event)`, in the default float type.

        Raises
        ------
        ValueError
            the target has no exact draws, or `num_samples` is less than 1.

        Examples
        --------
        >>> import jax
        >>> from numpyro_score.targets import gumbel
        >>> gumbel().sample(jax.random.key(0), 100)["x"].shape
        (100, 2)
        """
        if self.draw_fn is None:
            raise ValueError(
                f"target {self.name!r} has no exact independent draws (has_exact_draws is False); "
                "run a long chain instead, and compare it with the truths in `expectations`"
            )
        check_whole("num_samples", num_samples)
        return _draw_many(self.draw_fn, jax.random.split(rng_key, num_samples))

    def __check_init__(self) -> None:
        check_whole(f"target {self.name!r}: dim", self.dim)
        named = [(e.name, e.variable) for e in self.expectations]
        for pair in named:
            if named.count(pair) > 1:
                raise ValueError(
                    f"target {self.name!r} has two expectations named {pair[0]!r} of {pair[1]!r}; "
                    "give each (name, variable) once"
                )


def density_model(logdensity_fn: LogDensityFn, dim: int) -> None:
    """A log density as a NumPyro model: one flat site "x" `(dim,)` and a factor.

    Parameters
    ----------
    logdensity_fn
        position `(dim,)` -> log density `()`.
    dim
        the length of the position.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro.infer.util import log_density
    >>> from numpyro_score.targets import std_gaussian
    >>> value, _ = log_density(
    ...     density_model, (std_gaussian().logdensity_fn, 10), {}, {"x": jnp.ones(10)}
    ... )
    >>> float(value)
    -5.0
    """
    x = numpyro.sample("x", dist.ImproperUniform(constraints.real_vector, (), (dim,)))
    numpyro.factor("logdensity", logdensity_fn(x))


def _draw_x(rng_key: RngKey, draw_fn: Callable[[RngKey], Any]) -> dict[str, Any]:
    return {"x": draw_fn(rng_key)}


@final
class DensityTarget(Target):
    """A target given by its log density on R^dim; its one variable is "x".

    Parameters
    ----------
    name
        short identifier.
    description
        the definition written out.
    dim
        dimension.
    logdensity_fn
        position `(dim,)` -> unnormalised log density `()`.
    expectations
        functions of the draws `{"x": (..., dim)}` with their truth.
    draw_fn
        random key -> one exact draw `(dim,)`, or None if there is no exact sampler.
    log_evidence
        log of the integral of the unnormalised density, or None if it is not known.

    Raises
    ------
    ValueError
        `dim` is less than 1, or two expectations of a variable have the same name.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> def quartic(x):
    ...     return -jnp.sum(x**4)
    >>> target = DensityTarget("quartic", "density exp(-sum x_i^4)", 3, quartic)
    >>> target.has_exact_draws
    False
    """

    name: str = eqx.field(static=True)
    description: str = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    model: Model
    model_args: tuple[Any, ...]
    model_kwargs: dict[str, Any]
    logdensity_fn: LogDensityFn
    expectations: tuple[Expectation, ...]
    draw_fn: Callable[[RngKey], dict[str, Any]] | None
    log_evidence: float | None = eqx.field(static=True)

    def __init__(
        self,
        name: str,
        description: str,
        dim: int,
        logdensity_fn: LogDensityFn,
        expectations: tuple[Expectation, ...] = (),
        draw_fn: Callable[[RngKey], Float[Array, " dim"]] | None = None,
        log_evidence: float | None = None,
    ):
        self.name = name
        self.description = description
        self.dim = dim
        self.model = partial(density_model, logdensity_fn, dim)
        self.model_args = ()
        self.model_kwargs = {}
        self.logdensity_fn = logdensity_fn
        self.expectations = tuple(expectations)
        self.draw_fn = None if draw_fn is None else partial(_draw_x, draw_fn=draw_fn)
        self.log_evidence = None if log_evidence is None else float(log_evidence)


@final
class ModelTarget(Target):
    """A target given by a NumPyro model; its variables are the model's sites.

    Parameters
    ----------
    name
        short identifier.
    description
        the definition written out.
    model
        callable of NumPyro primitives; a module-level function, so that the target can be pickled.
    model_args, model_kwargs
        what the model is called with, data included.
    expectations
        functions of the draws of the model's sites (constrained, deterministic ones too).
    draw_fn
        random key -> one exact draw of the sites that the expectations read; None if there is no
        exact sampler, as for most posteriors.

    Raises
    ------
    ValueError
        the model has no continuous latent site, or has a discrete one; or two expectations of a
        variable have the same name.

    Examples
    --------
    >>> from numpyro_score.targets import eight_schools
    >>> target = eight_schools()
    >>> target.dim, target.has_exact_draws
    (10, False)
    """

    name: str = eqx.field(static=True)
    description: str = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    model: Model
    model_args: tuple[Any, ...]
    model_kwargs: dict[str, Any]
    logdensity_fn: LogDensityFn
    expectations: tuple[Expectation, ...]
    draw_fn: Callable[[RngKey], dict[str, Any]] | None

    def __init__(
        self,
        name: str,
        description: str,
        model: Model,
        model_args: tuple[Any, ...] = (),
        model_kwargs: Mapping[str, Any] | None = None,
        expectations: tuple[Expectation, ...] = (),
        draw_fn: Callable[[RngKey], dict[str, Any]] | None = None,
    ):
        self.name = name
        self.description = description
        self.model = model
        self.model_args = tuple(model_args)
        self.model_kwargs = dict(model_kwargs or {})
        self.logdensity_fn, self.dim = flat_logdensity(model, self.model_args, self.model_kwargs)
        self.expectations = tuple(expectations)
        self.draw_fn = draw_fn

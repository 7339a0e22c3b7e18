"""Posteriors by stochastic localization, without training, as a NumPyro kernel."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.deprecation import renamed_arguments
from numpyro_score.infer.draw_space import DrawSpace
from numpyro_score.infer.independent import Draw, independent
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.sampler import Context
from numpyro_score.localization import (
    InnerChains,
    IsotropicGaussian,
    Localizer,
    geometric_times,
)
from numpyro_score.localization.times import check_times
from numpyro_score.targets.prior import prior_proposal
from numpyro_score.types import Position, RngKey

FIRST, LAST = 0.01, 1000.0
"""First and last time, in units of the posterior's and the narrowest mode's sd to the power -2."""

MISFIT = 4.0
"""Factor by which an sd differs from the one that the times are made for, where the draws' own is
a tenth too small."""

FALSE_ALARM = 0.01
"""Probability that draws whose sd is just allowed are warned of; where the times are made for it,
at most a quarter of that with two chains, and below 2e-4 from four on."""


class _Prior(NamedTuple):
    """A model's prior over the flat unconstrained position, as `InnerChains` takes a reference."""

    model: Callable[..., Any]
    args: Any
    kwargs: Mapping[str, Any]
    unravel: Callable[[Array], Position]

    def sample(self, rng_key: Any, shape: tuple[int, ...] = ()) -> Array:
        draw, _ = prior_proposal(self.model, self.args, self.kwargs)
        keys = jax.random.split(rng_key, shape)
        return jax.vmap(lambda key: ravel_pytree(draw(key)[0])[0])(keys)

    def log_prob(self, x: Array) -> Array:
        _, log_prob = prior_proposal(self.model, self.args, self.kwargs)
        return log_prob(self.unravel(x))


class StochasticLocalization(NumPyroKernel):
    """Independent draws of a posterior by localization, with chains for the posterior mean.

    Each draw is one run of `Y_t = t x + W_t` from time 0 to a late time, with `InnerChains` for
    `E[x | Y_t]`: no training, no chain between draws. Approximate, and labelled so: with too few
    inner chains weights of modes are wrong. `localization.choose_start` estimates whether
    they are enough.

    Parameters
    ----------
    model
        A NumPyro model; draws live in its unconstrained space and come back constrained.
    reference
        A NumPyro distribution over the flat unconstrained position, as wide as the posterior or
        wider; by default the model's prior.
    scale, local_sd
        Approximate sd of the posterior and of its narrowest mode, in unconstrained coordinates: the
        times go from `.01 / scale^2` to `1,000 / local_sd^2`. `sample` warns if the last draws of
        the chains show that these values make the draws too narrow; fewer than about 16 chains
        rarely suffice to show it.
    times
        A grid of times in their place.
    num_times
        Steps of the grid.
    num_inner_chains, num_steps
        Inner chains of each draw, and MALA steps of each at every time.

    Raises
    ------
    ValueError, TypeError
        If there is no model, a number is not above 0, `local_sd` is above `scale`, or the grid does
        not rise.

    References
    ----------
    Grenioux, Noble, Gabrie and Durmus 2024, arXiv:2402.10758; Montanari 2023, arXiv:2305.10690.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model(y):
    ...     x = numpyro.sample("x", dist.Normal(0.0, 3.0))
    ...     numpyro.sample("y", dist.Normal(x**2, 2.0), obs=y)
    >>> kernel = StochasticLocalization(model, scale=2.0, local_sd=0.5, num_times=16)
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=200, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), 4.0)
    >>> x = mcmc.get_samples()["x"]
    >>> bool(0.3 < (x > 0).mean() < 0.7), kernel.exact  # modes at -2 and 2
    (True, False)
    """

    @renamed_arguments(num_chains="num_inner_chains")
    def __init__(
        self,
        model: Callable[..., Any],
        *,
        reference: Any = None,
        scale: float = 1.0,
        local_sd: float | None = None,
        times: Any = None,
        num_times: int = 48,
        num_inner_chains: int = 64,
        num_steps: int = 4,
    ) -> None:
        name = type(self).__name__
        if model is None:
            raise ValueError(f"{name} needs a NumPyro model.")
        local_sd = scale if local_sd is None else local_sd
        if not 0 < local_sd <= scale:
            raise ValueError(
                f"{name}: scale is {scale} and local_sd {local_sd}; 0 < local_sd <= scale is needed"
            )
        if times is None:
            times = geometric_times(FIRST / scale**2, LAST / local_sd**2, num_times)
        times = np.asarray(times, float)
        options = {
            "num_inner_chains": num_inner_chains,
            "num_steps": num_steps,
            "local_sd": float(local_sd),
        }
        # a wrong number is refused here, before anything is run
        unit = dist.Normal(0.0, 1.0).expand([1]).to_event(1)
        _localizer(lambda x: jnp.zeros(()), reference or unit, None, times, options)
        super().__init__(
            DrawSpace(name, model, None, None),
            independent(
                partial(_draw, reference, times, options),
                is_exact=False,
                has_logdensity=False,
                settings={**options, "times": times.tolist(), "reference": reference},
                remark=partial(_misfit, times.tolist()),
            ),
        )


def _misfit(times: Sequence[float], draws: Float[np.ndarray, "chain dim"]) -> str | None:
    """What is wrong with the times by the sds of the draws, of which it has to be certain."""
    # takes long to import
    from scipy.stats import chi2

    num, dim = draws.shape
    if num < 2 or dim == 0 or not np.isfinite(draws).all():
        return None
    squares = draws.astype(np.float64).var(axis=0, ddof=1) * (num - 1)
    highest = squares / chi2.ppf(FALSE_ALARM / dim, num - 1)
    lowest = squares / chi2.isf(FALSE_ALARM / dim, num - 1)
    # at time 0 nothing is observed
    first = next(time for time in times if time > 0)
    found = []
    if (is_narrow := times[-1] * highest < LAST / MISFIT**2).any():
        found.append(
            f"{is_narrow.sum()} of {dim} coordinates have a far smaller sd than the last "
            f"time is made for, {math.sqrt(LAST / times[-1]):.3g} (the smallest is about "
            f"{math.sqrt(squares.min() / (num - 1)):.2g}): give a smaller local_sd"
        )
    if (is_wide := first * lowest > FIRST * MISFIT**2).any():
        found.append(
            f"{is_wide.sum()} of {dim} coordinates have a far larger sd than the first time is "
            f"made for, {math.sqrt(FIRST / first):.3g} (the largest is about "
            f"{math.sqrt(squares.max() / (num - 1)):.2g}): give a larger scale"
        )
    if not found:
        return None
    return (
        "The draws are too narrow, since the times do not suit them, in unconstrained coordinates: "
        f"{'; '.join(found)}. Sds of these draws are too small themselves: change by a factor of "
        "10, until this warning is gone."
    )


def _localizer(
    logdensity_fn: Any, reference: Any, dim: int | None, times: Any, options: dict[str, Any]
) -> Localizer:
    process = IsotropicGaussian(1 if dim is None else dim)
    chains = InnerChains(process, logdensity_fn, reference, **options)
    if dim is None:
        check_times(times, process.last_time)
    return Localizer(process, chains, jnp.asarray(times, float))


def _draw(
    reference: Any,
    times: Any,
    options: dict[str, Any],
    rng_key: RngKey,
    template: Position,
    context: Context,
) -> Draw:
    """One draw by localization of the model's density, given its arguments."""
    flat, unravel = ravel_pytree(template)
    if reference is None:
        assert context.model is not None  # checked at construction
        reference = _Prior(context.model, context.args, context.kwargs, unravel)
    density = context.flat_logdensity_fn(template)
    x, num_grad = _localizer(density, reference, flat.size, times, options).draw(rng_key)
    return Draw(x, None, num_grad)

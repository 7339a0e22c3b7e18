"""Noise processes `x_t = alpha(t) x_0 + sigma(t) z`, t from 0 (data) to 1 (noise): the interface.

This is the distribution at time t of the diffusion `dx = f x dt + g dW` with

    f = d log alpha / dt,    g^2 = d sigma^2 / dt - 2 f sigma^2,

The time-reversed diffusion has drift `f x - g^2 score`. The ordinary differential equation with
drift `f x - g^2 score / 2`, the probability flow, has the same distribution at every time (Song et
al. 2021, arXiv:2011.13456). A process defines `log alpha` and `sigma^2`, which JAX differentiates;
both are smooth at t = 0, where `sigma` itself may have an infinite slope.
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.noise import convert
from numpyro_score.types import RngKey, Scalar, Time

Event = Float[Array, "..."]


def as_time(t: Time) -> Float[Array, "..."]:
    """Times as an array of a float type."""
    t = jnp.asarray(t)
    return t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(jnp.result_type(float))


def derivative(fn: Callable[[Array], Array], t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Derivative of an elementwise function."""
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


class NoiseProcess(eqx.Module):
    """The interface of a noise process; `VE`, `VP`, `CosineVP`, `SubVP` and `OU` implement it.

    A new process is a final class with three methods, `log_alpha`, `variance` and `time_of`, each
    elementwise in an array of times. Its numbers are static fields, so that training does not
    change them.

    Examples
    --------
    The straight line from data to noise:

    >>> import jax.numpy as jnp
    >>> class Straight(NoiseProcess):
    ...     def log_alpha(self, t):
    ...         return jnp.log1p(-0.999 * as_time(t))
    ...
    ...     def variance(self, t):
    ...         return as_time(t) ** 2
    ...
    ...     def time_of(self, ratio):
    ...         return solve_time(self, ratio)
    >>> noise = Straight()
    >>> round(float(noise.alpha(0.5)), 4), float(noise.sigma(0.5))
    (0.5005, 0.5)
    >>> round(float(noise.time_of(noise.ratio(0.25))), 5)
    0.25
    """

    @abstractmethod
    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """Logarithm of the scale of the signal."""

    @abstractmethod
    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma(t)^2`, smooth in t on all of [0, 1]."""

    @abstractmethod
    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """The time at which `sigma / alpha` is `ratio`, clipped to [0, 1].

        A process without a closed form uses `solve_time`.
        """

    def alpha(self, t: Time) -> Float[Array, "..."]:
        """Scale of the signal, elementwise in times of any shape."""
        return jnp.exp(self.log_alpha(t))

    def sigma(self, t: Time) -> Float[Array, "..."]:
        """Standard deviation of the noise, elementwise in times of any shape."""
        return jnp.sqrt(self.variance(t))

    def ratio(self, t: Time) -> Float[Array, "..."]:
        """`sigma / alpha`: the noise in units of the data."""
        return self.sigma(t) / self.alpha(t)

    def log_snr(self, t: Time) -> Float[Array, "..."]:
        """`log(alpha^2 / sigma^2)`, falling in t; infinite where `sigma` is 0."""
        return 2 * self.log_alpha(t) - jnp.log(self.variance(t))

    def drift_coefficient(self, t: Time) -> Float[Array, "..."]:
        """`f = d log alpha / dt`."""
        return derivative(self.log_alpha, as_time(t))

    def squared_diffusion(self, t: Time) -> Float[Array, "..."]:
        """`g^2 = d sigma^2 / dt - 2 f sigma^2`."""
        t = as_time(t)
        slope = derivative(self.variance, t)
        return slope - 2 * self.drift_coefficient(t) * self.variance(t)

    def diffusion(self, t: Time) -> Float[Array, "..."]:
        """`g`, at least 0."""
        return jnp.sqrt(jnp.maximum(self.squared_diffusion(t), 0.0))

    def drift(self, x: Event, t: Scalar) -> Event:
        """Drift of the forward diffusion at one point `x` (any shape)."""
        return self.drift_coefficient(t) * x

    def reverse_drift(self, x: Event, t: Scalar, score: Event) -> Event:
        """Drift of the reverse diffusion, `dx = (f x - g^2 score) dt + g dW` with dt < 0."""
        return self.drift_coefficient(t) * x - self.squared_diffusion(t) * score

    def probability_flow_drift(self, x: Event, t: Scalar, score: Event) -> Event:
        """Velocity of the probability flow, `dx/dt = f x - g^2 score / 2`."""
        return self.drift_coefficient(t) * x - self.squared_diffusion(t) * score / 2

    def perturb(self, rng_key: RngKey, x0: Event, t: Scalar) -> tuple[Event, Event]:
        """Add the noise of time t to a point.

        Parameters
        ----------
        rng_key
            One random key.
        x0
            One point of the data, any shape; `jax.vmap` for a batch.
        t
            Scalar time.

        Returns
        -------
        The noised point `x_t` and its standard normal noise `z`, both of the shape of `x0`.

        Examples
        --------
        >>> import jax, jax.numpy as jnp
        >>> from numpyro_score.noise import VE
        >>> noise, x0 = VE(sigma_min=0.1, sigma_max=10.0), jnp.ones(3)
        >>> x, z = noise.perturb(jax.random.key(0), x0, 0.5)
        >>> bool(jnp.allclose(x, x0 + 1.0 * z))  # sigma is 1 half way, on the log scale
        True
        """
        z = jax.random.normal(rng_key, x0.shape, x0.dtype)
        return self.alpha(t) * x0 + self.sigma(t) * z, z

    def denoised(self, x: Event, t: Scalar, score: Event) -> Event:
        """`E[x_0 | x_t = x]` from the score, by Tweedie's formula."""
        return convert.score_to_denoised(x, self.alpha(t), self.sigma(t), score)

    def score(self, x: Event, t: Scalar, denoised: Event) -> Event:
        """The score from `E[x_0 | x_t = x]`, by Tweedie's formula; NaN where `sigma` is 0."""
        return convert.denoised_to_score(x, self.alpha(t), self.sigma(t), denoised)

    def prior(self, mean: Event | float = 0.0, sd: Event | float = 0.0) -> tuple[Event, Event]:
        """Mean and sd of the distribution at t = 1 for data of the given mean and sd.

        With `sd = 0` these are the moments of the noise alone. Reverse processes start from a
        Gaussian with the moments returned.

        Examples
        --------
        >>> from numpyro_score.noise import VE
        >>> mean, sd = VE(sigma_max=4.0).prior(sd=3.0)
        >>> float(mean), float(sd)
        (0.0, 5.0)
        """
        alpha = self.alpha(1.0)
        return alpha * jnp.asarray(mean), jnp.sqrt((alpha * sd) ** 2 + self.variance(1.0))


def solve_time(process: NoiseProcess, ratio: Time) -> Float[Array, "..."]:
    """Time at which `sigma / alpha` is `ratio`, by bisection, for a process without closed form.

    Accurate to the resolution of the float type. `sigma / alpha` must increase in t.

    Parameters
    ----------
    process
        A process whose `ratio` increases in t.
    ratio
        Values of `sigma / alpha`, of any shape.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=100.0)
    >>> round(float(solve_time(noise, 1.0)), 5)
    0.5
    """
    ratio = as_time(ratio)
    num_halvings = jnp.finfo(ratio.dtype).nmant + 2

    def halve(_: object, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_below = process.ratio(middle) < ratio
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    low, high = jax.lax.fori_loop(
        0, num_halvings, halve, (jnp.zeros_like(ratio), jnp.ones_like(ratio))
    )
    return (low + high) / 2

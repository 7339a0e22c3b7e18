"""Autoencoders: principal components plus what two networks add to them.

    code = A^-1 (principal components of x + encoder(x) - b),
    point = point of the principal components A code + b, plus decoder(A code + b)

Both networks start near 0, so that training starts at principal components. Afterwards `A` and `b`
are set such that the codes of the data have mean 0, sd 1 and no correlations. With a weight above
0 of the Kullback-Leibler divergence codes get noise in training and are drawn towards N(0, I), as
in a variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114) with a noise that is the
same for all points; latent diffusion uses a small weight (Rombach et al. 2022, arXiv:2112.10752).
"""

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from numpyro_score.latent.coder import (
    Code,
    Coder,
    Event,
    PrincipalComponents,
    encode_many,
    principal_components,
)
from numpyro_score.progress import ProgressCallback
from numpyro_score.scores import Constant
from numpyro_score.scores.mlp import near_zero
from numpyro_score.scores.standardisation import Standardisation
from numpyro_score.training import fit
from numpyro_score.training.losses import Reconstruction
from numpyro_score.types import RngKey


@final
class Autoencoder(Coder):
    """Two networks around principal components; made by `fit_autoencoder`.

    Parameters
    ----------
    linear
        Principal components.
    units
        Standardisation of the encoder's input.
    encoder, decoder
        Networks: a flat standardised point -> a code, and a code -> a flat point in units of the
        data's sds.
    log_sd
        Log sd of the noise of codes in training, `(latent,)`.
    center, factor
        `b`, `(latent,)`, and `A`, lower triangular, `(latent, latent)`.
    latent, event_shape
        Length of a code, and shape of a point.

    Examples
    --------
    >>> import jax, numpy as np
    >>> angle = np.random.default_rng(0).uniform(0, 1.5, 500)
    >>> arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> coder = fit_autoencoder(arc, 1, rng_key=jax.random.key(0), num_steps=20, progress=False)
    >>> coder.encode(jax.numpy.asarray(arc[0])).shape
    (1,)
    """

    linear: PrincipalComponents
    units: Standardisation
    encoder: eqx.nn.MLP
    decoder: eqx.nn.MLP
    log_sd: Float[Array, " latent"]
    center: Constant
    factor: Constant
    latent: int = eqx.field(static=True)
    event_shape: tuple[int, ...] = eqx.field(static=True)

    def encode(self, x: Event) -> Code:
        """The code of one point."""
        linear = self.linear.encode(x)
        raw = linear + self.encoder(self.units.static(x).reshape(-1)).astype(x.dtype)
        return solve_triangular(self.factor.like(x), raw - self.center.like(x), lower=True)

    def decode(self, z: Code) -> Event:
        """The point of one code."""
        raw = self.center.like(z) + self.factor.like(z) @ z
        more = self.decoder(raw).astype(z.dtype).reshape(self.event_shape)
        return self.linear.decode(raw) + more * self.units.sd.like(z)


def _network(before: int, after: int, width: int, depth: int, rng_key: RngKey) -> eqx.nn.MLP:
    """A network whose output starts near 0."""
    network = eqx.nn.MLP(before, after, width, depth, jax.nn.silu, key=rng_key)
    return eqx.tree_at(lambda net: net.layers[-1], network, replace_fn=near_zero)


def fit_autoencoder(
    data: Float[Any, "num *event"],
    latent: int,
    *,
    rng_key: RngKey,
    width: int = 128,
    depth: int = 2,
    kl_weight: float = 0.0,
    num_steps: int = 2000,
    progress: bool | ProgressCallback = True,
) -> Autoencoder:
    """Train an autoencoder.

    Parameters
    ----------
    data
        `(num, *event)`.
    latent
        Length of a code.
    rng_key
        For initial weights and training.
    width, depth
        Of both networks.
    kl_weight
        Weight of the Kullback-Leibler divergence of a code's distribution from N(0, I), in nats,
        beside the squared error in units of the data's variance; 0 is deterministic, .001 is small.
    num_steps, progress
        As of `fit`.

    Raises
    ------
    ValueError
        As `principal_components`; if the weight is below 0.

    Examples
    --------
    >>> import jax, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> coder = fit_autoencoder(x, 2, rng_key=jax.random.key(0), num_steps=5, progress=False)
    >>> coder.latent, coder.event_shape
    (2, (3,))
    """
    linear = principal_components(data, latent)
    dim = math.prod(linear.event_shape)
    key_encoder, key_decoder, key_fit = jax.random.split(rng_key, 3)
    model = Autoencoder(
        linear=linear,
        units=Standardisation(np.asarray(data, np.float64)),
        encoder=_network(dim, latent, width, depth, key_encoder),
        decoder=_network(latent, dim, width, depth, key_decoder),
        log_sd=jnp.full(latent, math.log(0.1)),
        center=Constant(jnp.zeros(latent)),
        factor=Constant(jnp.eye(latent)),
        latent=linear.latent,
        event_shape=linear.event_shape,
    )
    loss = Reconstruction(float(np.var(data, axis=0).mean()), kl_weight)
    model = fit(model, data, loss, rng_key=key_fit, num_steps=num_steps, progress=progress).model
    codes = np.asarray(encode_many(model, jnp.asarray(data, float)), np.float64)
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(codes, rowvar=False)))
    return eqx.tree_at(
        lambda m: (m.center.array, m.factor.array),
        model,
        (jnp.asarray(codes.mean(axis=0), float), jnp.asarray(factor, float)),
    )

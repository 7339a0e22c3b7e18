"""`LatentScore`: a coder and a score of its codes, which samples data and is a prior of them.

Latent diffusion: Vahdat, Kreis and Kautz 2021, arXiv:2106.05931; Rombach et al. 2022,
arXiv:2112.10752.
"""

from pathlib import Path
from typing import Any, NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.distributions import LearnedDistribution
from numpyro_score.distributions.files import KNOWN
from numpyro_score.latent.autoencoder import Autoencoder
from numpyro_score.latent.coder import (
    Code,
    Coder,
    Event,
    PrincipalComponents,
    decode_many,
    encode_many,
)
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers import dpm_solver, probability_flow
from numpyro_score.samplers.batches import draw_in_batches
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.scores import ScoreModel
from numpyro_score.training.io import load, save
from numpyro_score.types import RngKey


class ReconstructionError(NamedTuple):
    """How well points come back from their codes: what no draw of the model can be better than.

    Attributes
    ----------
    rmse
        Root mean squared error of a coordinate, in units of the data.
    unexplained
        Share of the data's variance that the codes do not keep, from 0 to 1.

    Examples
    --------
    >>> ReconstructionError(rmse=0.1, unexplained=0.01).unexplained
    0.01
    """

    rmse: float
    unexplained: float


def reconstruction(coder: Coder, data: Float[Any, "num *event"]) -> ReconstructionError:
    """The error of data that are encoded and decoded.

    Parameters
    ----------
    coder
        Any coder.
    data
        `(num, *event)`, which it was not trained on.
    """
    points = jnp.asarray(data, jnp.result_type(float))
    back = decode_many(coder, encode_many(coder, points))
    squared = np.asarray((back - points) ** 2, np.float64).mean()
    variance = np.var(np.asarray(data, np.float64), axis=0).mean()
    return ReconstructionError(float(squared**0.5), float(squared / variance))


@final
class LatentScore(eqx.Module):
    """A score of the codes of data; made by `fit_latent`.

    Parameters
    ----------
    coder
        From points to codes and back.
    flow
        The probability flow of the score of codes, with a density.
    codes
        Some codes of the data, `(num, latent)`.
    error
        Error of the reconstruction of held-out points.

    Examples
    --------
    >>> import jax, numpy as np, numpyro
    >>> from numpyro_score.latent import fit_latent, principal_components
    >>> rng = np.random.default_rng(0)
    >>> fields = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 25))
    >>> options = {"coder": principal_components, "num_steps": 20, "progress": False}
    >>> latent, _ = fit_latent(fields.reshape(-1, 5, 5), 2, rng_key=jax.random.key(0), **options)
    >>> latent.sample(jax.random.key(1), 10).shape, latent.error.unexplained < 1e-6
    ((10, 5, 5), True)
    >>> def model(observed):
    ...     z = numpyro.sample("z", latent.prior)
    ...     x = numpyro.deterministic("x", latent.decode(z))
    ...     numpyro.sample("y", numpyro.distributions.Normal(x[0, 0], 0.1), obs=observed)
    """

    coder: Coder
    flow: LearnedProposal
    codes: Float[Array, "num latent"]
    error: ReconstructionError = eqx.field(static=True)

    @property
    def score(self) -> ScoreModel:
        """The score of codes, for samplers, guidance and conditioning."""
        learned = self.flow.learned
        assert isinstance(learned, MonotoneFlow)
        return learned.score  # type: ignore[return-value]

    @property
    def noise(self) -> NoiseProcess:
        """The noise process of the score of codes."""
        return self.score.noise

    @property
    def prior(self) -> LearnedDistribution:
        """The distribution of codes, for `numpyro.sample`, with the density of its draws."""
        return LearnedDistribution(self.flow, points=self.codes)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of a point."""
        return self.coder.event_shape

    def encode(self, x: Event) -> Code:
        """The code of one point.

        Raises
        ------
        ValueError
            If the point has another shape than the data.
        """
        return self.coder.encode(x)

    def decode(self, z: Code) -> Event:
        """The point of one code.

        Raises
        ------
        ValueError
            If the code has another length.
        """
        return self.coder.decode(z)

    def decode_many(
        self, codes: Float[Any, "num latent"], *, batch_size: int | None = None
    ) -> Float[np.ndarray, "num *event"]:
        """The points of codes, in batches, on the host."""
        given = jnp.asarray(codes, jnp.result_type(float))

        def decoded(index: Array) -> Array:
            return decode_many(self.coder, given[index])

        return draw_in_batches(decoded, self.event_shape, len(given), batch_size, progress=False)

    def sample(
        self,
        rng_key: RngKey,
        num_samples: int,
        *,
        sampler: Any = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Float[np.ndarray, "{num_samples} *event"]:
        """Independent draws of data, which are approximate.

        Parameters
        ----------
        rng_key
            One random key.
        num_samples
            Number of draws.
        sampler
            Any sampler of codes, such as `reverse_sde(latent.score, latent.noise, (16,))`; also of
            a posterior score or of a consistency model. By default the probability flow in 20
            steps.
        batch_size, progress
            As of `DiffusionSampler.sample`.

        Raises
        ------
        ValueError
            If the sampler draws points that are no codes.
        """
        if sampler is None:
            sampler = self.default_sampler()
        codes = sampler.sample(rng_key, num_samples, batch_size=batch_size, progress=progress)
        return self.decode_many(codes, batch_size=batch_size)

    def default_sampler(self) -> Any:
        """The probability flow of codes in 20 steps of DPM-Solver++."""
        shape = (self.coder.latent,)
        return probability_flow(
            self.score, self.noise, shape, num_steps=20, method=dpm_solver, denoise=True
        )

    def save(self, path: str | Path) -> Path:
        """Write it to one file, which `load` reads."""
        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "LatentScore":
        """Read what `save` wrote, without executing code.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it holds something else.
        """
        model = load(path, CLASSES)
        if not isinstance(model, cls):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a LatentScore")
        return model


CLASSES: tuple[type, ...] = (
    *KNOWN,
    Autoencoder,
    LatentScore,
    PrincipalComponents,
    ReconstructionError,
)
"""Classes that a file of a latent score may hold, besides those of scores and noise processes."""

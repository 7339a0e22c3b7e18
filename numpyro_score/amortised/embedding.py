"""Summaries of data whose rows are exchangeable, by a network that does not see their order.

    s(rows) = joint(mean_i row(x_i), moments of the rows)

(deep sets: Zaheer et al. 2017, arXiv:1703.06114). The network is trained to predict mean and sd of
the parameters given the data, which are then summaries that lose little (Fearnhead and Prangle
2012, doi:10.1111/j.1467-9868.2011.01010.x; Jiang et al. 2017, arXiv:1510.02175).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.amortised.conditions import Scaling
from numpyro_score.progress import ProgressCallback
from numpyro_score.training import fit
from numpyro_score.types import RngKey

WIDTH = 32
"""Units of the hidden layers, and length of what a row becomes."""

NUM_STEPS = 2000
"""Most steps of the training."""

LARGEST = 20.0
"""Number of a row, in units of half the interquartile range, beyond which its arcsinh tells."""

LEAST_LOG_SD = -8.0
"""Log sd of a standardised parameter below which none is predicted."""


def as_rows(data: Mapping[str, Any]) -> Float[Array, "row feature"]:
    """Data as rows, the sites beside each other in the order of their names.

    Raises
    ------
    ValueError
        If they have no rows, or not all the same number.
    """
    arrays = {name: jnp.asarray(data[name]) for name in sorted(data)}
    shapes = {name: x.shape for name, x in arrays.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        raise ValueError(
            f"the data have shapes {shapes}; exchangeable rows are the first axis of every site, "
            "of one length"
        )
    parts = [x.reshape(len(x), -1) for x in arrays.values()]
    return jnp.concatenate(parts, axis=1).astype(jnp.result_type(float))


def coordinates(scaling: Scaling, row: Float[Array, " feature"]) -> Float[Array, " coordinate"]:
    """A row as numbers of moderate size: itself, as far as it goes, and its arcsinh.

    Sufficient statistics are often products of its numbers, which the arcsinh alone makes harder to
    learn: in a regression with 20 rows the predicted mean was off by .25 posterior sds with it, and
    by .15 with both.
    """
    x = (row - scaling.middle) / scaling.spread
    return jnp.concatenate([jnp.clip(x, -LARGEST, LARGEST), jnp.arcsinh(x)])


def counted_rows(data: Mapping[str, Any]) -> dict[str, Array]:
    """The number of rows, and the rows: what `RowEmbedding.fit` takes, once flat."""
    rows = as_rows(data)
    return {"count": jnp.asarray(rows.shape[0]), "rows": rows}


@final
class RowNetworks(eqx.Module):
    """What is trained: rows to vectors, and their mean with the rows' moments to summaries."""

    row: eqx.nn.MLP
    joint: eqx.nn.MLP

    def __call__(self, rows: Float[Array, "row feature"]) -> Float[Array, " summary"]:
        """Predicted means and log sds of the parameters, then means and log sds of the rows."""
        moments = jnp.concatenate([rows.mean(axis=0), jnp.log(rows.std(axis=0) + 1e-3)])
        pooled = jax.vmap(self.row)(rows).mean(axis=0)
        return jnp.concatenate([self.joint(jnp.concatenate([pooled, moments])), moments])


def prediction_loss(model: RowNetworks, batch: Any, rng_key: RngKey) -> Float[Array, ""]:
    """Negative log likelihood of independent Gaussians with the predicted means and sds."""
    del rng_key
    points, flat = batch
    dim = points.shape[1]
    size = model.row.in_size
    assert isinstance(size, int)
    found = jax.vmap(model)(flat.reshape(len(flat), -1, size))
    mean, log_sd = found[:, :dim], jnp.maximum(found[:, dim : 2 * dim], LEAST_LOG_SD)
    return jnp.mean(0.5 * ((points - mean) * jnp.exp(-log_sd)) ** 2 + log_sd)


@final
class RowEmbedding(eqx.Module):
    """Summaries of data with exchangeable rows.

    Attributes
    ----------
    scaling
        Standardisation of a row.
    networks
        From standardised rows to summaries.
    num_rows
        How many rows they were trained on.
    """

    scaling: Scaling
    networks: RowNetworks
    num_rows: int = eqx.field(static=True)

    def __call__(self, data: Mapping[str, Any]) -> Float[Array, " summary"]:
        """The summaries of data.

        Raises
        ------
        ValueError
            If the number of rows or their length is not that of the simulations.
        """
        rows = as_rows(data)
        expected = (self.num_rows, len(self.scaling.middle))
        if rows.shape != expected:
            raise ValueError(
                f"the data have {rows.shape[0]} rows of {rows.shape[1]} numbers, but {expected[0]} "
                f"of {expected[1]} were simulated; give data of the simulated shape"
            )
        return self.networks(jax.vmap(partial(coordinates, self.scaling))(rows))

    @classmethod
    def fit(
        cls,
        points: Float[np.ndarray, "num dim"],
        flat: Float[np.ndarray, "num size"],
        rng_key: RngKey,
        *,
        num_steps: int,
        progress: bool | ProgressCallback,
    ) -> tuple["RowEmbedding", Float[np.ndarray, "num summary"]]:
        """Train on parameters and data.

        Parameters
        ----------
        points
            Unconstrained parameters.
        flat
            `counted_rows` of their data, flat.
        rng_key
            For initial weights and training.
        num_steps
            Of the flow; the embedding takes at most `NUM_STEPS`.
        progress
            As of `numpyro_score.training.fit`.

        Returns
        -------
        The embedding, and the summaries of the data.
        """
        num, num_rows = len(flat), int(flat[0, 0])
        rows = flat[:, 1:].reshape(num * num_rows, -1)
        scaling = Scaling.of(rows)
        dim = points.shape[1]
        dtype = scaling.middle.dtype
        scaled = jax.vmap(partial(coordinates, scaling))(jnp.asarray(rows, dtype))
        size = scaled.shape[1]
        scaled = scaled.reshape(num, num_rows, size)
        key_row, key_joint, key_fit = jax.random.split(rng_key, 3)
        networks, _ = fit(
            RowNetworks(
                eqx.nn.MLP(size, WIDTH, WIDTH, 2, jax.nn.silu, key=key_row),
                eqx.nn.MLP(WIDTH + 2 * size, 2 * dim, WIDTH, 2, jax.nn.silu, key=key_joint),
            ),
            (
                (points - points.mean(axis=0)) / points.std(axis=0),
                np.asarray(scaled).reshape(num, -1),
            ),
            prediction_loss,
            rng_key=key_fit,
            num_steps=min(num_steps, NUM_STEPS),
            progress=progress,
        )
        summaries = jax.jit(jax.vmap(networks))(scaled)
        return cls(scaling, networks, num_rows), np.asarray(summaries, np.float64)

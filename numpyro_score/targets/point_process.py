"""A log-Gaussian Cox process: counts in the cells of a grid, with a log intensity in common.

The counts were made once from the model and are part of the definition.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Float, Int

from numpyro_score.targets.base import ModelTarget
from numpyro_score.targets.expectation import reference_expectations

SIDE = 16
LENGTH = 0.2
"""Distance, in sides of the square, over which the correlation falls by `e`."""
_ROWS = """
    0310004083263210 612102411g142102 741111032b662520 15013026av634311
    02231125bg311202 2131154132031310 0132353101210220 2303452420010206
    3100332010011112 3010022223031002 1400231643441000 35325b5312191112
    0130298270027011 0400002656152101 000322138aa11140 10111233fbc40010
"""

COUNTS: Int[np.ndarray, "256"] = np.array([int(c, 36) for row in _ROWS.split() for c in row])
"""Points in each cell, row by row; a cell is a digit in base 36."""

Counts = Int[jax.Array, " cell"] | Int[np.ndarray, " cell"]


def square_root_of_covariance(side: int = SIDE) -> Float[np.ndarray, "cell cell"]:
    """Cholesky factor of `exp(-distance / LENGTH)` between the centres of cells.

    Parameters
    ----------
    side
        Cells on a side of the unit square.

    Examples
    --------
    >>> square_root_of_covariance(2).round(2)[:2]
    array([[1.  , 0.  , 0.  , 0.  ],
           [0.08, 1.  , 0.  , 0.  ]])
    """
    centres = (np.arange(side) + 0.5) / side
    points = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return np.linalg.cholesky(np.exp(-distance / LENGTH))


def cox_process_model(y: Counts) -> None:
    """Counts of a log-Gaussian Cox process (Moller, Syversveen and Waagepetersen 1998), whitened.

    `y_k ~ Poisson(exp(level + scale (L z)_k))` with `level ~ N(0, 1)`, `scale ~ HalfNormal(1)`,
    `z ~ N(0, I)` (sds), and `L` the square root of an exponential correlation
    (doi:10.1111/1467-9469.00115).

    Parameters
    ----------
    y
        counts `(cell,)` of a square grid.

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> draw = Predictive(cox_process_model, num_samples=3)
    >>> draw(jax.random.key(0), COUNTS)["log_intensity"].shape
    (3, 256)
    """
    num_cells = y.shape[0]
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([num_cells]).to_event(1))
    root = jnp.asarray(square_root_of_covariance(round(num_cells**0.5)), z.dtype)
    log_intensity = numpyro.deterministic("log_intensity", level + scale * (root @ z))
    numpyro.sample("y", dist.Poisson(jnp.exp(log_intensity)).to_event(1), obs=y)


def cox_process() -> ModelTarget:
    """Log-Gaussian Cox process on 16 x 16 cells; 258 dimensions.

    Cells with many points determine the intensity around them, others hardly do. Reference values
    are from long chains.

    Examples
    --------
    >>> target = cox_process()
    >>> target.dim, target.has_exact_draws
    (258, False)
    """
    return ModelTarget(
        name="cox_process",
        description=(
            "y_k ~ Poisson(exp(level + scale (L z)_k)) in 16 x 16 cells, exponential correlation "
            "of length .2; level ~ N(0, 1), scale ~ HalfNormal(1)"
        ),
        model=cox_process_model,
        model_args=(COUNTS,),
        expectations=reference_expectations("cox_process"),
    )

"""Mean and scale of particles, in whose units proposals are learned."""

import numpy as np
from jaxtyping import Float


def mean_and_factor(particles: Float[np.ndarray, "num dim"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and Cholesky factor of the covariance, of particles."""
    center = particles.mean(axis=0, dtype=np.float64)
    covariance = np.atleast_2d(np.cov(particles.astype(np.float64), rowvar=False))
    variance = np.diagonal(covariance)
    if not (np.isfinite(covariance).all() and (variance > 0).all()):
        stuck = np.flatnonzero(~(variance > 0)).tolist()
        raise ValueError(
            f"exploration ended with particles that do not differ in coordinates {stuck}; give "
            "reference=, a distribution about as wide as the target, or a larger num_particles="
        )
    # keeps nearly dependent coordinates independent at the resolution of single precision
    covariance += np.diag(1e-6 * variance)
    return center, np.linalg.cholesky(covariance)

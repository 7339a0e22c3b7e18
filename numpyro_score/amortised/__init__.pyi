from .fit import fit_posterior
from .posterior import AmortisedPosterior

__all__ = ["AmortisedPosterior", "fit_posterior"]

from .autoencoder import Autoencoder, fit_autoencoder
from .coder import Coder, PrincipalComponents, principal_components
from .fit import fit_latent
from .model import LatentScore, ReconstructionError

__all__ = [
    "Autoencoder",
    "Coder",
    "LatentScore",
    "PrincipalComponents",
    "ReconstructionError",
    "fit_autoencoder",
    "fit_latent",
    "principal_components",
]

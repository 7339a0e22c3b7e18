"""Scores of a few latent coordinates: data that lie near a surface of few dimensions.

The names are listed in `__init__.pyi` and loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

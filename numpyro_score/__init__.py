"""Metropolis-Hastings, Langevin and learned-score kernels for NumPyro and BlackJAX.

The names are listed in `__init__.pyi` and loaded when first used, so that importing the package
takes no time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

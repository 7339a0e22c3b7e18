"""Kernels for NumPyro: samplers of batches of chains, and one class that has NumPyro's protocol.

The names are listed in `__init__.pyi` and loaded when first used: `MALA` imports nothing of what
learned kernels need.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

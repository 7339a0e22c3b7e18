"""Diagnostics of draws: burn-in, mixing, modes, distances, known values, cost.

The names are listed in `__init__.pyi` and loaded when first used: the check at the end of a run
imports little.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

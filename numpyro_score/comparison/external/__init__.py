"""Third-party algorithms for `compare`, with their own adaptation, each one function."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

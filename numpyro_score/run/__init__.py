"""`sample`: any NumPyro kernel run to a `DataTree`."""

from numpyro_score.run.runner import sample

__all__ = ["sample"]

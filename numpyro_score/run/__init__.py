"""`sample`: any NumPyro kernel run to a `DataTree`, of a given length or within a budget."""

from numpyro_score.run.budget import Evaluations, Seconds
from numpyro_score.run.runner import sample

__all__ = ["Evaluations", "Seconds", "sample"]

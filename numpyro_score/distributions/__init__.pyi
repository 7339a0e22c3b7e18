from .conditional import LearnedConditional
from .coverage import Coverage
from .learned import LearnedDistribution

__all__ = ["Coverage", "LearnedConditional", "LearnedDistribution"]

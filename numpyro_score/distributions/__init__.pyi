from .conditional import LearnedConditional
from .coverage import Coverage
from .learned import LearnedDistribution
from .training import FlowOptions

__all__ = ["Coverage", "FlowOptions", "LearnedConditional", "LearnedDistribution"]

from .fitted import Fitted
from .importance import Quality, quality
from .ladder import LearnedLadder
from .preparation import Preparation

__all__ = ["Fitted", "LearnedLadder", "Preparation", "Quality", "quality"]

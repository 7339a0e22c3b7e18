"""Local moves in turn with learned jumps: exploring, training, and the kernel."""

from numpyro_score.infer.global_local.fitted import Fitted
from numpyro_score.infer.global_local.importance import Quality, quality
from numpyro_score.infer.global_local.kernel import GlobalLocal

__all__ = ["Fitted", "GlobalLocal", "Quality", "quality"]

"""Local moves in turn with learned jumps: exploring, training, and the kernel."""

from numpyro_score.infer.global_local.fitted import Fitted
from numpyro_score.infer.global_local.kernel import GlobalLocal
from numpyro_score.infer.global_local.quality import Quality, quality

__all__ = ["Fitted", "GlobalLocal", "Quality", "quality"]

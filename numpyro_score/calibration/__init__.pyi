from .posterior import posterior_sbc
from .result import Calibration
from .sbc import sbc

__all__ = ["Calibration", "posterior_sbc", "sbc"]

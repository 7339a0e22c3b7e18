from .protocol import Drawn, ExternalSampler, Reference, Task
from .shipped import (
    blackjax_adjusted_mclmc,
    blackjax_chees,
    blackjax_laps,
    blackjax_mclmc,
    blackjax_meads,
    blackjax_nested,
    blackjax_nuts,
    blackjax_smc,
)

__all__ = [
    "Drawn",
    "ExternalSampler",
    "Reference",
    "Task",
    "blackjax_adjusted_mclmc",
    "blackjax_chees",
    "blackjax_laps",
    "blackjax_mclmc",
    "blackjax_meads",
    "blackjax_nested",
    "blackjax_nuts",
    "blackjax_smc",
]

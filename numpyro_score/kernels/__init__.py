"""Markov kernels in BlackJAX's protocol; all but the unadjusted ones leave their target invariant.

The kernels are `blackjax.GenerateSamplingAPI` objects. They are made when first used, and BlackJAX
is imported then.
"""

from typing import TYPE_CHECKING, Any

from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.coordinates import whitened
from numpyro_score.kernels.generalized import ghmc as _ghmc
from numpyro_score.kernels.global_local import global_local as _global_local
from numpyro_score.kernels.independence import independence as _independence
from numpyro_score.kernels.ladder import Ladder
from numpyro_score.kernels.langevin import ula as _ula
from numpyro_score.kernels.local_mala import local_mala as _local_mala
from numpyro_score.kernels.local_mams import local_mams as _local_mams
from numpyro_score.kernels.mala import mala as _mala
from numpyro_score.kernels.metropolis import metropolis_hastings as _metropolis_hastings
from numpyro_score.kernels.microcanonical import mams as _mams
from numpyro_score.kernels.parallel_tempering import parallel_tempering as _parallel_tempering
from numpyro_score.kernels.random_walk import random_walk as _random_walk
from numpyro_score.kernels.score_metropolis import score_metropolis as _score_metropolis
from numpyro_score.kernels.underdamped import underdamped_langevin as _underdamped_langevin

if TYPE_CHECKING:
    from blackjax import GenerateSamplingAPI

    ghmc: GenerateSamplingAPI
    global_local: GenerateSamplingAPI
    independence: GenerateSamplingAPI
    local_mala: GenerateSamplingAPI
    local_mams: GenerateSamplingAPI
    mala: GenerateSamplingAPI
    mams: GenerateSamplingAPI
    metropolis_hastings: GenerateSamplingAPI
    parallel_tempering: GenerateSamplingAPI
    random_walk: GenerateSamplingAPI
    score_metropolis: GenerateSamplingAPI
    ula: GenerateSamplingAPI
    underdamped_langevin: GenerateSamplingAPI

__all__ = [
    "Ladder",
    "ghmc",
    "global_local",
    "independence",
    "local_mala",
    "local_mams",
    "mala",
    "mams",
    "metropolis_hastings",
    "parallel_tempering",
    "random_walk",
    "score_metropolis",
    "ula",
    "underdamped_langevin",
    "whitened",
]

_KERNELS: dict[str, MarkovKernel] = {
    "ghmc": _ghmc,
    "global_local": _global_local,
    "independence": _independence,
    "local_mala": _local_mala,
    "local_mams": _local_mams,
    "mala": _mala,
    "mams": _mams,
    "metropolis_hastings": _metropolis_hastings,
    "parallel_tempering": _parallel_tempering,
    "random_walk": _random_walk,
    "score_metropolis": _score_metropolis,
    "ula": _ula,
    "underdamped_langevin": _underdamped_langevin,
}
# Importing a file binds its name here, where `__getattr__` is to answer for the kernel of that
# name.
for _name in _KERNELS:
    globals().pop(_name, None)


def __getattr__(name: str) -> Any:
    if name not in _KERNELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kernel = globals()[name] = _KERNELS[name].for_blackjax()
    return kernel


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

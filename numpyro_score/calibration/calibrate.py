"""What every calibration does with its plan: check the settings, refit batch by batch, judge."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from numpyro_score.calibration.program import Plan, run
from numpyro_score.calibration.result import Calibration, summarise
from numpyro_score.calibration.store import BatchStore
from numpyro_score.checks import check_positive, check_whole
from numpyro_score.fingerprint import fingerprint
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import RngKey

BATCH_SIZE = 100
"""Default number of refits in one call of the program."""


class Settings(NamedTuple):
    """Settings of a calibration; see `sbc`."""

    num_simulations: int
    num_warmup: int
    num_samples: int
    num_chains: int
    var_names: tuple[str, ...] | None
    alpha: float
    batch_size: int
    store: str | Path | None
    progress: bool | ProgressCallback

    def check(self) -> None:
        """Check that the numbers are in their ranges."""
        check_whole("num_simulations", self.num_simulations, 10)
        check_whole("num_warmup", self.num_warmup, 0)
        check_whole("num_samples", self.num_samples, 4, hint="R-hat compares halves of a chain")
        check_whole("num_chains", self.num_chains)
        check_whole("batch_size", self.batch_size)
        check_positive("alpha", self.alpha)
        if not self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha:g} but must be above 0 and below 1")
        if isinstance(self.var_names, str):
            raise TypeError(
                f"var_names is the text {self.var_names!r}, but must be a tuple of names; give "
                f"({self.var_names!r},)"
            )


def calibrate(
    plan: Plan,
    rng_key: RngKey,
    key_refits: RngKey,
    parts: Any,
    settings: Settings,
    data_sets: str,
    source_ess: float = math.inf,
) -> Calibration:
    """Refit, rank and judge.

    Parameters
    ----------
    plan
        What is refitted and how.
    rng_key, key_refits
        The key that the user gave, which a store is identified by, and that of the refits.
    parts
        What the refits depend on besides keys and settings.
    settings
        Checked before.
    data_sets
        Where parameters were drawn from, for the result.
    source_ess
        Effective sample size of what they were drawn from; infinite for independent draws.

    Warns
    -----
    UserWarning
        As of `sbc`.
    """
    num, size = settings.num_simulations, min(settings.batch_size, settings.num_simulations)
    # the number of refits is not part of it: a calibration can be extended
    about = {
        "model": fingerprint(parts),
        "key": np.asarray(jax.random.key_data(rng_key)).tolist(),
        "numbers": [settings.num_warmup, settings.num_samples, settings.num_chains, size],
        "var_names": None if settings.var_names is None else list(settings.var_names),
    }
    store = BatchStore(settings.store, about)
    ranked, labels = run(plan, key_refits, num, size, store, settings.var_names, settings.progress)
    return summarise(ranked, labels, settings.alpha, data_sets=data_sets, source_ess=source_ess)

"""The text of a training's progress bar: the latest losses."""

import numpy as np

from numpyro_score.training.job import TrainState


def latest(values: np.ndarray) -> float:
    """The last finite value of a history, or NaN."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known[-1]) if known.size else float("nan")


def describe(state: TrainState) -> str:
    """The latest training loss and held-out loss, as far as they are known."""
    named = {"loss": state.train_loss, "held-out": state.held_out_loss}
    values = {name: latest(np.asarray(rows)) for name, rows in named.items()}
    return ", ".join(f"{name} {v:.4g}" for name, v in values.items() if np.isfinite(v))

"""A training that is killed goes on from its folder, to the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

from numpyro_score import progress
from numpyro_score.noise import VE
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training import checkpoint, fit, loop
from numpyro_score.training.losses import ContinuousDenoising

DATA = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
STEPS = 400


def train(**settings: Any) -> Any:
    """A training with all that a state holds: averages, a history, the best so far."""
    network = ResidualMLP(2, width=16, rng_key=jax.random.key(0))
    model = ScoreNetwork(network, VE(0.1, 10.0), DATA)
    data = settings.pop("data", DATA)
    given: dict[str, Any] = {"rng_key": jax.random.key(1), "num_steps": STEPS, "patience": 1000}
    given |= settings
    return fit(model, data, ContinuousDenoising(), batch_size=64, progress=False, **given)


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
import test_checkpoint as here

here.progress.CHUNK_SECONDS = 0.02
here.checkpoint.SAVE_SECONDS = 0.0
save = here.checkpoint.Checkpoint.save

def slowly(self, state, *, is_last=False):
    save(self, state, is_last=is_last)
    time.sleep(0.5)

here.checkpoint.Checkpoint.save = slowly
here.train(checkpoint={folder!r})
"""


def steps_in(folder: Path) -> list[int]:
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdecimal())


@pytest.fixture(scope="module")
def whole() -> Any:
    return train()


@pytest.mark.slow
def test_killed_and_resumed(
    whole: Any, tmp_path: Path, child_env: dict[str, str], same: Any
) -> None:
    folder = tmp_path / "training"
    code = CHILD.format(tests=str(Path(__file__).parent), folder=str(folder))
    child = subprocess.Popen(
        [sys.executable, "-c", code], env=child_env, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while len(steps_in(folder)) < 2:
        if child.poll() is not None or time.monotonic() > end:
            child.kill()
            pytest.fail(f"the training did not get to two checkpoints: {child.communicate()[1]}")
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    left = steps_in(folder)
    assert 0 < left[-1] < STEPS

    resumed = train(checkpoint=folder)
    same(whole.model, resumed.model)
    np.testing.assert_array_equal(whole.history.to_dataframe(), resumed.history.to_dataframe())
    assert resumed.history.attrs["best_step"] == whole.history.attrs["best_step"]
    assert steps_in(folder)[-1] == STEPS


def test_every_interrupt_is_resumed(
    whole: Any, tmp_path: Path, monkeypatch: Any, same: Any
) -> None:
    """Ctrl-C again and again, each time a chunk on."""
    monkeypatch.setattr(progress, "CHUNK_SECONDS", 0.02)
    run, calls = loop.run, []

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        return run(*args)

    monkeypatch.setattr(loop, "run", interrupted)
    steps = []
    for _ in range(3):
        _, history = train(checkpoint=tmp_path / "training")
        assert history.attrs["stopped"] == "interrupted"
        steps.append(history.attrs["num_steps"])
    assert sorted(set(steps)) == steps
    monkeypatch.setattr(loop, "run", run)
    same(whole.model, train(checkpoint=tmp_path / "training").model)


def test_a_finished_training_is_not_repeated(tmp_path: Path, monkeypatch: Any, same: Any) -> None:
    first = train(checkpoint=tmp_path, num_steps=30)
    seen: list[Any] = []
    run = loop.run

    def counted(*args: Any) -> Any:
        seen.append(args)
        return run(*args)

    monkeypatch.setattr(loop, "run", counted)
    second = train(checkpoint=str(tmp_path), num_steps=30)
    same(first.model, second.model)
    assert len(seen) == 1  # which compiles, and makes no step
    assert second.history.attrs["num_steps"] == 30


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"num_steps": 31}, "num_steps: 30 there, 31 here"),
        ({"rng_key": jax.random.key(2)}, "rng_key"),
        ({"data": DATA + 1}, "data"),
        ({"ema": 0.5}, "ema"),
        ({"patience": 3}, "patience"),
    ],
)
def test_another_training_is_not_mistaken(
    other: Any, match: str, tmp_path_factory: Any, unchecked: None
) -> None:
    folder = tmp_path_factory.getbasetemp() / "one_training"
    if not folder.exists():
        train(checkpoint=folder, num_steps=30)
    with pytest.raises(ValueError, match=f"another training .*{match}"):
        train(checkpoint=folder, **({"num_steps": 30} | other))


def test_models_are_told_apart(tmp_path: Path) -> None:
    train(checkpoint=tmp_path, num_steps=30)
    model = ScoreNetwork(ResidualMLP(2, width=16, rng_key=jax.random.key(9)), VE(0.1, 10.0), DATA)
    with pytest.raises(ValueError, match="first parameters"):
        fit(
            model,
            DATA,
            ContinuousDenoising(),
            rng_key=jax.random.key(1),
            num_steps=30,
            batch_size=64,
            patience=1000,
            checkpoint=tmp_path,
            progress=False,
        )
    assert not eqx.tree_equal(model, train(num_steps=30).model)


def test_a_state_is_saved_now_and_then(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 1e9)
    train(checkpoint=tmp_path, num_steps=30)
    assert steps_in(tmp_path) == [30]  # only the last

"""Comparisons of several seeds: kept in a store, killed and resumed, spread over processes."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.infer import NUTS

from numpyro_score.comparison import compare, jobs, load_comparison
from numpyro_score.comparison.seeds import RATES
from numpyro_score.infer import MALA
from numpyro_score.targets import DensityTarget, std_gaussian

KEY = jax.random.key(3)
KERNELS: dict[str, Any] = {"mala": MALA, "refuse/this": abs}
LENGTHS: dict[str, Any] = {"num_warmup": 60, "num_samples": 100, "num_chains": 4, "num_seeds": 2}


def run(kernels=KERNELS, **options):
    return compare(kernels, [std_gaussian(2)], KEY, progress=False, **LENGTHS, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "cmp.zarr"


@pytest.fixture(scope="module")
def kept(store):
    return run(store=store)


@pytest.fixture
def copy(kept, store, tmp_path):
    return shutil.copytree(store, tmp_path / "cmp.zarr")


def figures(table):
    """What does not depend on the clock."""
    timed = [name for name in table if "second" in name and "moment" not in name]
    return table.drop(columns=timed)


def same_draws(left, right):
    assert list(left.runs) == list(right.runs)
    for place, dt in left.runs.items():
        np.testing.assert_array_equal(dt.posterior.x, right.runs[place].posterior.x)


def test_it_is_opened_again_as_it_was(kept, store):
    again = load_comparison(store)
    pd.testing.assert_frame_equal(again.table, kept.table)
    for name in ("errors", "curves"):
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(kept, name), check_dtype=False, check_names=False
        )
    assert again.verdicts == kept.verdicts
    assert (again.settings, again.descriptions) == (kept.settings, kept.descriptions)
    assert again.is_complete
    same_draws(again, kept)


def test_the_store_is_zarr(kept, store):
    import zarr

    group: Any = zarr.open_group(store, mode="r")
    assert {"runs", "results"} <= set(group.group_keys())
    assert len(list(group["runs"].group_keys())) == 2


def test_seeds_are_joined_and_have_intervals(kept):
    table = kept.table
    assert table.num_seeds.tolist() == [2, 0]
    row = table.loc["std_gaussian", "mala"]
    for name in RATES:
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    errors = kept.errors
    assert sorted(errors.seed.unique()) == [0, 1]
    one, other = (errors[errors.seed == seed].estimate.to_numpy() for seed in (0, 1))
    assert not np.isin(one, other).any()


def test_a_killed_comparison_is_resumed_to_the_same_draws(kept, copy, monkeypatch):
    shutil.rmtree(copy / "results")
    with pytest.raises(FileNotFoundError, match="is not complete"):
        load_comparison(copy)
    # one run is lost, another was killed under way
    lost, cut = sorted(copy.glob("runs/*mala*"))[:2]
    shutil.rmtree(lost)
    metadata = json.loads((cut / ".zmetadata").read_text())
    metadata["metadata"][".zattrs"]["complete"] = 0
    (cut / ".zmetadata").write_text(json.dumps(metadata))
    sampled = []

    def counted(*args, **kwargs):
        sampled.append(kwargs["store"].name)
        return sample(*args, **kwargs)

    sample = jobs.sample
    monkeypatch.setattr(jobs, "sample", counted)
    again = run(store=copy, resume=True)
    assert sampled == [lost.name, cut.name], sampled
    same_draws(again, kept)
    pd.testing.assert_frame_equal(figures(again.table), figures(kept.table))


NUM_KILLS = 10

CHILD = """
import sys
from tests.comparison.test_store import run
run(store=sys.argv[1], resume=True)
"""


@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_same_draws(kept, tmp_path):
    path = tmp_path / "cmp.zarr"
    rng = np.random.default_rng(0)
    folder = jax.config.jax_compilation_cache_dir or ""
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": folder, "PYTHONPATH": root}
    num_kills, seconds = 0, 30.0
    while num_kills < NUM_KILLS:
        began = time.monotonic()
        child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CHILD, str(path)], env=env)
        try:
            # any moment from the import to the last run
            child.wait(timeout=rng.uniform(0.1, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            num_kills += 1
        else:
            assert child.returncode == 0
            seconds = time.monotonic() - began
            same_draws(load_comparison(path), kept)
            shutil.rmtree(path)
    same_draws(run(store=path, resume=True), kept)


def test_another_comparison_is_refused(kept, copy):
    with pytest.raises(FileExistsError, match="resume=True"):
        run(store=copy)
    with pytest.raises(ValueError, match=r"kernels was .*, is \['nuts'\]"):
        run({"nuts": NUTS}, store=copy, resume=True)
    (copy / ".zattrs").write_text("{}")
    with pytest.raises(ValueError, match="is not a comparison"):
        load_comparison(copy)


def shifted(shift):
    return DensityTarget("std_gaussian", "", 2, lambda x: -0.5 * jnp.sum((x - shift) ** 2))


def test_other_data_under_the_name_of_a_target_are_refused(kept, copy):
    def resumed(target):
        return compare(KERNELS, [target], KEY, progress=False, **LENGTHS, store=copy, resume=True)

    with pytest.raises(ValueError, match=r"target 'std_gaussian' is another one: the log density"):
        resumed(shifted(100.0))
    same_draws(resumed(shifted(0.0)), kept)


def test_other_options_under_the_name_of_a_kernel_are_refused(kept, copy):
    def other(model):
        return MALA(model, dense_mass=True)

    with pytest.raises(ValueError, match=r"another kernel 'mala'.*is_dense=False.*is_dense=True"):
        run({**KERNELS, "mala": other}, store=copy, resume=True)


def test_a_store_without_densities_is_resumed(kept, copy):
    attrs = json.loads((copy / ".zattrs").read_text())
    del attrs["numpyro_score_comparison"]["densities"]
    (copy / ".zattrs").write_text(json.dumps(attrs))
    same_draws(run(store=copy, resume=True), kept)


@pytest.mark.slow
def test_processes_make_the_same_draws(kept):
    spread = run(num_processes=2)
    same_draws(spread, kept)
    pd.testing.assert_frame_equal(figures(spread.table), figures(kept.table))
    assert spread.table.index.equals(kept.table.index)


def test_what_cannot_be_sent_is_told_before_anything_runs():
    with pytest.raises(TypeError, match="kernel 'lambda' cannot be sent to another process"):
        run({"lambda": lambda model: MALA(model)}, num_processes=2)


def test_an_interrupt_leaves_what_can_be_resumed(kept, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "sample", stop)
        found = run(store=tmp_path / "cmp.zarr")
    assert not found.is_complete
    assert not load_comparison(tmp_path / "cmp.zarr").is_complete
    again = run(store=tmp_path / "cmp.zarr", resume=True)
    assert again.is_complete
    same_draws(again, kept)
    assert dataclasses.is_dataclass(load_comparison(tmp_path / "cmp.zarr"))

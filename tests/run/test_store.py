"""Runs that are streamed to disk: what a reader sees, what a resumed run draws, what is refused."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
import pytest

from numpyro_score import MALA, progress, sample
from numpyro_score.run import loop
from numpyro_score.run.claim import RECORD
from numpyro_score.run.store import ZarrStore
from numpyro_score.run.zarr_group import COMMIT, committed
from numpyro_score.targets import eight_schools

TARGET = eight_schools()
KERNEL = MALA(TARGET.model)
LENGTHS: dict[str, Any] = {
    "num_warmup": 30,
    "num_samples": 40,
    "num_chains": 4,
    "model_args": TARGET.model_args,
    "model_kwargs": TARGET.model_kwargs,
}
KEY = jax.random.key(0)
BUFFER_BYTES = 3_000
"""Room for more than 8 draws of four chains, so for 16: a power of two."""


def run(**options: Any) -> Any:
    return sample(KERNEL, KEY, progress=False, **{**LENGTHS, **options})


def assert_same_draws(left, right):
    for name in ("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats"):
        assert set(left[name].data_vars) == set(right[name].data_vars)
        for variable in left[name].data_vars:
            np.testing.assert_array_equal(left[name][variable], right[name][variable])


@pytest.fixture(scope="module", autouse=True)
def small_buffers():
    """Room for 16 draws in a chunk, so that a short run has several, in one compiled program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "BUFFER_BYTES", BUFFER_BYTES)
        yield


@pytest.fixture(scope="module")
def reference(small_buffers):
    return run()


@pytest.fixture
def short_chunks(monkeypatch):
    """Other chunks than those of the reference: the first are shorter."""
    monkeypatch.setattr(progress, "FIRST_CHUNK", 3)
    monkeypatch.setattr(loop, "COMMIT_BYTES", 1)


def interrupt_every(monkeypatch, num_chunks):
    """Ctrl-C at every `num_chunks`-th chunk from here on."""
    original, count = loop.run_chunk, iter(range(1, 10**6))

    def flaky(*arguments):
        if next(count) % num_chunks == 0:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(loop, "run_chunk", flaky)


def test_a_stored_run_equals_one_in_memory(tmp_path, reference, short_chunks):
    stored = run(store=tmp_path / "run.zarr")
    assert_same_draws(stored, reference)
    assert stored.attrs["complete"] == 1
    assert stored.observed_data.dataset.equals(reference.observed_data.dataset)


def test_a_run_resumed_many_times_draws_the_same_bits(
    tmp_path, reference, short_chunks, monkeypatch
):
    interrupt_every(monkeypatch, 4)
    seconds = [0.0]
    for resumed in range(20):  # noqa: B007
        stored = run(store=tmp_path / "run.zarr", resume=True)
        seconds.append(stored.attrs["seconds_warmup"] + stored.attrs["seconds_sampling"])
        if stored.attrs["complete"]:
            break
    assert resumed > 1, "the run was never interrupted"
    assert_same_draws(stored, reference)
    # of all calls, not of the last one
    assert (np.diff(seconds) > 0).all()
    assert stored.attrs["seconds_warmup"] > 0


def test_what_was_written_after_the_commit_is_forgotten(
    tmp_path, reference, short_chunks, monkeypatch
):
    """Killed between the values and the commit: there are values that the metadata does not say."""
    path, count = tmp_path / "run.zarr", iter(range(100))
    original = ZarrStore._commit

    def killed_before(self, record):
        if next(count) == 4:
            raise RuntimeError("killed")
        original(self, record)

    monkeypatch.setattr(ZarrStore, "_commit", killed_before)
    with pytest.raises(RuntimeError, match="killed"):
        run(store=path)
    monkeypatch.undo()
    assert_same_draws(run(store=path, resume=True), reference)


def test_a_reader_sees_whole_chunks_while_the_run_goes_on(tmp_path, short_chunks, monkeypatch):
    path, seen = tmp_path / "run.zarr", []
    original = ZarrStore._write

    def write_and_look(self, *arguments):
        original(self, *arguments)
        tree = az.from_zarr(path)
        if "posterior" in tree.children:
            seen.append((tree.posterior.sizes["draw"], tree.sample_stats.sizes["draw"]))
            assert np.isfinite(tree.posterior["mu"].values).all()

    monkeypatch.setattr(ZarrStore, "_write", write_and_look)
    run(store=path)
    assert seen[-1] == (LENGTHS["num_samples"],) * 2
    assert all(draws == stats for draws, stats in seen)
    assert [draws for draws, _ in seen] == sorted({draws for draws, _ in seen})


def test_without_warmup_the_store_has_none(tmp_path, reference, short_chunks):
    stored = run(store=tmp_path / "run.zarr", keep_warmup=False)
    assert "warmup_posterior" not in stored.children
    np.testing.assert_array_equal(stored.posterior["mu"], reference.posterior["mu"])


def test_netcdf_is_written_at_the_end(tmp_path, reference):
    path = tmp_path / "run.nc"
    run(store=path)
    assert_same_draws(az.from_netcdf(path), reference)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_samples": 50}, "steps of sampling was 40 and is 50"),
        ({"num_chains": 6}, "chains was 4 and is 6"),
        ({"thinning": 2}, "thinning was 1 and is 2"),
        # a part of the group would be empty
        ({"log_likelihood": True}, "log_likelihood was False and is True"),
        ({"keep_warmup": False}, "keep_warmup was True and is False"),
    ],
)
def test_another_runs_store_is_refused_and_the_difference_named(tmp_path, change, named):
    path = tmp_path / "run.zarr"
    run(store=path)
    before = (path / COMMIT).read_text()
    with pytest.raises(ValueError, match=named):
        run(store=path, resume=True, **change)
    assert (path / COMMIT).read_text() == before


def test_another_kernel_is_named(tmp_path):
    path = tmp_path / "run.zarr"
    run(store=path)
    with pytest.raises(ValueError, match=r"kernel was 'MALA\(.*is_dense=False.* is_dense=True"):
        sample(
            MALA(TARGET.model, dense_mass=True),
            KEY,
            store=path,
            resume=True,
            progress=False,
            **LENGTHS,
        )


@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_a_damaged_or_foreign_store_is_refused_and_left_alone(tmp_path, damage):
    path = tmp_path / "run.zarr"
    if damage == "truncated":
        run(store=path)
        text = (path / COMMIT).read_text()
        (path / COMMIT).write_text(text[: len(text) // 2])
    else:
        path.mkdir()
        (path / "precious.txt").write_text("mine")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match="not a store of a run, or is damaged"):
        run(store=path, resume=True)
    after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    after.pop(path / ".lock", None)
    before.pop(path / ".lock", None)
    assert after == before


NUM_CUTS = 10


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_cut_file_is_named_and_nothing_is_changed(
    tmp_path, reference, short_chunks, monkeypatch, is_complete
):
    whole = tmp_path / "whole.zarr"
    if is_complete:
        run(store=whole)
    else:
        with monkeypatch.context() as patch:
            interrupt_every(patch, 6)
            run(store=whole)
    rng = np.random.default_rng(3)
    files = sorted(file for file in whole.rglob("*") if file.stat().st_size and file.is_file())
    counted = {"refused": 0, "resumed": 0}
    for number in range(NUM_CUTS):
        path = tmp_path / f"{number}.zarr"
        shutil.copytree(whole, path)
        cut = path / rng.choice(np.array(files)).relative_to(whole)
        os.truncate(cut, rng.integers(cut.stat().st_size))
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        try:
            tree = run(store=path, resume=True)
        except ValueError as error:
            message = str(error)
        else:
            # the state of a complete run, and what the commit does not count, are not needed
            assert_same_draws(tree, reference)
            counted["resumed"] += 1
            continue
        assert cut.name in message
        after = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        changed = {
            file.name for file in before.keys() | after if before.get(file) != after.get(file)
        }
        assert not changed
        counted["refused"] += 1
    assert counted["refused"] >= NUM_CUTS // 2, counted


def test_two_runs_into_one_store_are_refused(tmp_path, short_chunks, monkeypatch):
    path = tmp_path / "run.zarr"
    original = loop.run_chunk
    refused: list[bool] = []

    def intrude(*arguments):
        if path.exists() and not refused:
            refused.append(True)
            with pytest.raises(BlockingIOError, match="another run is writing"):
                run(store=path, resume=True)
        return original(*arguments)

    monkeypatch.setattr(loop, "run_chunk", intrude)
    run(store=path)
    assert refused


def test_a_full_disk_keeps_what_was_committed(tmp_path, reference, short_chunks, monkeypatch):
    path = tmp_path / "run.zarr"
    original = ZarrStore._write

    def full(self, chunk, *arguments):
        if chunk.phase == "sampling" and chunk.first:
            raise OSError(28, "No space left on device")
        original(self, chunk, *arguments)

    monkeypatch.setattr(ZarrStore, "_write", full)
    with pytest.raises(OSError, match=r"committed and readable draws: \d+ of warmup"):
        run(store=path)
    kept = az.from_zarr(path).posterior["mu"]
    np.testing.assert_array_equal(kept, reference.posterior["mu"][:, : kept.sizes["draw"]])
    monkeypatch.undo()
    assert_same_draws(run(store=path, resume=True), reference)


def test_bad_places_are_refused_before_anything_runs(tmp_path):
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(FileExistsError, match="resume=True"):
        run(store=tmp_path / "there.zarr")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run(store=tmp_path / "nowhere" / "run.zarr")
    with pytest.raises(ValueError, match=r"neither \.zarr nor \.nc"):
        run(store=tmp_path / "run.csv")
    with pytest.raises(ValueError, match="needs store="):
        run(resume=True)
    with pytest.raises(ValueError, match="cannot be resumed"):
        run(store=tmp_path / "run.nc", resume=True)


@contextmanager
def file_size_limit(num_bytes):
    """No file may grow past it, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_readable_before_the_disk_was_full_still_is(tmp_path, reference, short_chunks):
    path = tmp_path / "run.zarr"
    original = ZarrStore._write
    sizes = []

    def write_and_look(self, chunk, *arguments):
        original(self, chunk, *arguments)
        sizes.append(max(file.stat().st_size for file in path.rglob("*") if file.is_file()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ZarrStore, "_write", write_and_look)
        run(store=path)
    shutil.rmtree(path)
    # between the size of the warmup's largest file and that of the sampling's, which are longer
    limit = (sizes[0] + max(sizes)) // 2
    complaint = r"cannot be written .*File too large.*30 of warmup"
    with file_size_limit(limit), pytest.raises(OSError, match=complaint):
        run(store=path)
    kept = az.from_zarr(path)
    assert kept.attrs["complete"] == 0
    np.testing.assert_array_equal(kept.warmup_posterior["mu"], reference.warmup_posterior["mu"])
    assert_same_draws(run(store=path, resume=True), reference)


@contextmanager
def nobody():
    """Without the rights of the superuser, who may write anywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_to_is_named():
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o555)
        with nobody(), pytest.raises(OSError, match=r"cannot be written \(Permission denied\)"):
            run(store=Path(place) / "run.zarr")
        Path(place).chmod(0o755)


NUM_KILLS = 20

CHILD = """
import sys
import jax
from numpyro_score import MALA, progress, sample
from numpyro_score.run import loop
from numpyro_score.targets import eight_schools
loop.BUFFER_BYTES = 3_000
progress.FIRST_CHUNK, progress.CHUNK_SECONDS = 1, 0.0
target = eight_schools()
sample(MALA(target.model), jax.random.key(0), num_warmup=30, num_samples=40, num_chains=4,
       model_args=target.model_args, model_kwargs=target.model_kwargs,
       store=sys.argv[1], resume=True, progress=False)
"""


def committed_rows(path):
    """Draws of each phase that a reader sees."""
    try:
        return committed(path)[".zattrs"][RECORD]["rows"]
    except OSError:
        return {}


@pytest.mark.slow
def test_a_killed_process_is_resumed_bit_for_bit(tmp_path, reference):
    path = tmp_path / "run.zarr"
    rng = np.random.default_rng(0)
    kills = {"warmup": 0, "sampling": 0}
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""}
    while sum(kills.values()) < NUM_KILLS:
        wanted = sum(committed_rows(path).values()) + rng.integers(1, 6)
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], env=env)
        while child.poll() is None and sum(committed_rows(path).values()) < wanted:
            time.sleep(0.001)
        try:
            # it is writing: every moment of a chunk and of a commit may be hit
            child.wait(timeout=rng.uniform(0.0, 0.03))
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            rows = committed_rows(path)
            kills["sampling" if rows.get("warmup") == 30 else "warmup"] += 1
        else:
            assert child.returncode == 0
            assert_same_draws(run(store=path, resume=True), reference)
            shutil.rmtree(path)
    assert min(kills.values()) >= NUM_KILLS // 5, kills
    assert_same_draws(run(store=path, resume=True), reference)


def test_chunks_are_committed_together(tmp_path, reference, monkeypatch):
    """A commit is dear, a chunk is not: as many are written together as half a second brings."""
    monkeypatch.setattr(progress, "CHUNK_SECONDS", 1e9)
    commits = []
    original = ZarrStore._commit

    def counted(self, record):
        commits.append(record)
        original(self, record)

    monkeypatch.setattr(ZarrStore, "_commit", counted)
    assert_same_draws(run(store=tmp_path / "run.zarr"), reference)
    assert [set(record["rows"]) for record in commits[:2]] == [{"warmup"}, {"warmup", "sampling"}]
    assert len(commits) == 3  # a phase each, and the attributes at the end

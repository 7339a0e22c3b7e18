"""What every test shares: shape checks of the package at run time, double precision on demand."""

import gc
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jaxtyping
import numpy as np
import pytest

from tests.shape_checks import check_package

check_package()


def pytest_configure(config: pytest.Config) -> None:
    """Compile quickly, and keep what XLA compiled: most of the time of the suite is compilation.

    Programs that are compiled quickly run slower. Slow tests run for long, so they are not.

    Each worker in a folder of its own: JAX does not lock the files, and one that another process is
    still writing is read as far as it goes. `exchanged_programs` hands whole ones on.
    """
    if "not slow" in config.option.markexpr:
        jax.config.update("jax_disable_most_optimizations", True)
    if getattr(config, "cache", None) is not None:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir(f"jax-{worker}")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what `slow_tests.txt` names."""
    lines = (Path(__file__).parent / "slow_tests.txt").read_text().splitlines()
    slow = {line for line in lines if not line.startswith("#")}
    for item in items:
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is imported stays: the garbage collector need not look at it, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


MOST_MAPS = 30_000
"""Memory maps of a process after which compiled programs are dropped; Linux allows 65,530."""


@pytest.fixture(scope="session")
def drop_programs() -> Callable[[], None]:
    """Drop compiled programs where there are many.

    Every one holds memory maps, and XLA ends in a crash where there are no more.
    """
    maps = Path("/proc/self/maps")

    def drop() -> None:
        if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
            jax.clear_caches()
            gc.collect()

    return drop


@pytest.fixture(autouse=True, scope="module")
def few_programs(drop_programs: Callable[[], None]) -> Iterator[None]:
    """After every file, programs are dropped where there are many."""
    yield
    drop_programs()


@contextmanager
def quick_if(is_quick: bool) -> Iterator[None]:
    """Within it, XLA leaves out most optimizations, or none."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", is_quick)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """Programs that compile in half the time and run slower, in slow tests too."""
    with quick_if(True):
        yield


@pytest.fixture(scope="module")
def fast_programs() -> Iterator[None]:
    """Programs that take longer to compile and run faster: for files that run for long."""
    with quick_if(False):
        yield


def link_new(source: Path, goal: Path) -> None:
    """Link what stands in one folder and not in another into that other one."""
    for name in set(os.listdir(source)) - set(os.listdir(goal)):
        # another worker was quicker, or the file system has no links
        with suppress(OSError):
            os.link(source / name, goal / name)


@pytest.fixture(autouse=True, scope="module")
def exchanged_programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every file, the workers have what each of them compiled."""
    yield
    folder, cache = jax.config.jax_compilation_cache_dir, getattr(request.config, "cache", None)
    if folder is not None and cache is not None and "PYTEST_XDIST_WORKER" in os.environ:
        own, shared = Path(folder), cache.mkdir("jax-shared")
        link_new(own, shared)
        link_new(shared, own)


@contextmanager
def double_precision() -> Iterator[None]:
    """Within it, JAX computes in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def x64() -> Iterator[None]:
    with double_precision():
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users run the package: its own checks alone stand between bad input and the code."""
    with patch.object(jaxtyping.config, "jaxtyping_disable", True):
        yield


@pytest.fixture(scope="session")
def compilations() -> Callable[[], int]:
    """How many programs XLA has been given so far, whether or not it had compiled them before."""
    found: list[float] = []

    def listen(event: str, duration_secs: float, **about: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: len(found)


@pytest.fixture(scope="session")
def same() -> Any:
    """Whether two pytrees are equal bit for bit, keys and NaN included."""

    def compare(left: Any, right: Any) -> None:
        def raw(x: Any) -> Any:
            if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
                return jax.random.key_data(x)
            return x

        jax.tree.map(lambda a, b: np.testing.assert_array_equal(raw(a), raw(b)), left, right)

    return compare

"""Chains in batches, in superchains, on many devices and in two processes: the same draws."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from numpyro.infer import AIES, NUTS, BarkerMH

import numpyro_score as ns
from numpyro_score.run.layout import Layout, make_layout
from numpyro_score.targets import eight_schools

TARGET = eight_schools()


def run(kernel: Any, **options: Any) -> Any:
    lengths = {"num_warmup": 20, "num_samples": 10, "num_chains": 12}
    data = {"model_args": TARGET.model_args, "model_kwargs": TARGET.model_kwargs}
    return ns.sample(kernel, jax.random.key(0), progress=False, **{**lengths, **data, **options})


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    """Rounding is the only difference, and a chaotic trajectory of NUTS enlarges it."""
    with jax.enable_x64(True):
        yield


# -- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 4, 5, 12, 20])
@pytest.mark.parametrize("shards", [1, 2])
def test_batches_put_every_chain_back_in_its_place(size: int, shards: int) -> None:
    x = jnp.arange(24.0).reshape(12, 2)
    mesh = Mesh(np.array(jax.devices() * shards), ("chain",)) if shards > 1 else None
    seen = []

    def double(x: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen.append(len(x))
        return 2 * x, keys

    keys = jax.random.split(jax.random.key(0), 12)
    doubled, same_keys = Layout(12, size, mesh).in_batches(double)(x, keys)
    np.testing.assert_array_equal(doubled, 2 * x)
    np.testing.assert_array_equal(jax.random.key_data(same_keys), jax.random.key_data(keys))
    assert max(seen) <= size * shards


@pytest.mark.parametrize(
    "make", [ns.MALA, *(pytest.param(k, marks=pytest.mark.slow) for k in (NUTS, BarkerMH))]
)
def test_draws_do_not_depend_on_the_batches(make: Any) -> None:
    kernel = make(TARGET.model)
    whole, batched = run(kernel), run(kernel, chain_batch_size=5)
    for group in ("warmup_posterior", "posterior"):
        np.testing.assert_allclose(batched[group]["mu"], whole[group]["mu"], rtol=1e-6, atol=1e-6)


def test_warmup_is_pooled_over_all_batches() -> None:
    tree = run(ns.MALA(TARGET.model), chain_batch_size=4)
    assert len(np.unique(tree.sample_stats["step_size"])) == 1


# -- superchains ----------------------------------------------------------------------------------


def test_chains_of_a_superchain_start_at_one_point() -> None:
    still = ns.MALA(
        TARGET.model, step_size=1e-12, adapt_step_size=False, inverse_mass_matrix=jnp.ones(10)
    )
    tree = run(still, num_warmup=0, num_samples=1, num_superchains=3)
    assert tree.attrs["superchain_ids"] == [0] * 4 + [1] * 4 + [2] * 4
    starts = tree.posterior["mu"].values.reshape(3, 4)
    np.testing.assert_allclose(starts, starts[:, :1].repeat(4, 1), atol=1e-4)
    assert np.abs(np.diff(starts[:, 0])).min() > 1e-2


def test_superchains_serve_nested_rhat() -> None:
    tree = run(ns.MALA(TARGET.model), num_warmup=100, num_samples=100, num_superchains=3)
    nested = az.rhat_nested(tree, superchain_ids=tree.attrs["superchain_ids"])
    assert 0.99 < nested["mu"] < 1.5
    assert tree.posterior["mu"].values[:, 0].std() > 0.1


def test_starting_points_of_superchains_may_be_given() -> None:
    start = {"mu": jnp.arange(3.0), "tau": jnp.zeros(3), "theta_base": jnp.zeros((3, 8))}
    still = ns.MALA(
        TARGET.model, step_size=1e-12, adapt_step_size=False, inverse_mass_matrix=jnp.ones(10)
    )
    tree = run(still, num_warmup=0, num_samples=1, num_superchains=3, init_params=start)
    np.testing.assert_allclose(
        tree.posterior["mu"].values[:, 0], np.repeat([0, 1, 2], 4), atol=1e-4
    )


# -- devices --------------------------------------------------------------------------------------

CHILD = """
import os, sys, warnings
import jax
port, processes, process, out = sys.argv[1:]
jax.config.update("jax_enable_x64", True)
if int(processes) > 1:
    jax.distributed.initialize("127.0.0.1:" + port, int(processes), int(process))
import numpy as np
from numpyro.infer import AIES, NUTS
import numpyro_score as ns
from numpyro_score.targets import eight_schools

target = eight_schools()
# too short a run to be warned of
warnings.simplefilter("ignore", ns.ConvergenceWarning)
assert jax.device_count() > 1
mesh = jax.make_mesh((jax.device_count(),), ("chain",))
for name in os.environ["KERNELS"].split():
    kernel = {"MALA": ns.MALA, "NUTS": NUTS, "AIES": AIES}[name](target.model)
    batch = None if name == "AIES" else 1
    options = dict(num_warmup=20, num_samples=30, num_chains=24, progress=False,
                   model_args=target.model_args, model_kwargs=target.model_kwargs)
    tree = ns.sample(kernel, jax.random.key(0), mesh=mesh, chain_batch_size=batch,
                     store=f"{out}/{name}.zarr", **options)
    if int(processes) > 1:
        again = ns.sample(kernel, jax.random.key(0), **options)  # all devices, gathered
        np.testing.assert_allclose(again.posterior["mu"], tree.posterior["mu"], rtol=1e-4)
        del again
        resumed = ns.sample(kernel, jax.random.key(0), mesh=mesh, chain_batch_size=batch,
                            store=f"{out}/{name}.zarr", resume=True, **options)
        np.testing.assert_array_equal(resumed.posterior["mu"], tree.posterior["mu"])
"""


def spread(out: Path, kernels: str, *, devices: int, processes: int) -> None:
    """Run the kernels over devices and processes, each into a store of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "KERNELS": kernels,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or "",
    }
    arguments = [sys.executable, "-W", "error", "-c", CHILD, str(port), str(processes)]
    children = [subprocess.Popen([*arguments, str(i), str(out)], env=env) for i in range(processes)]
    try:
        assert [child.wait(timeout=900) for child in children] == [0] * processes
    finally:
        for child in children:
            child.kill()


def assert_as_on_one_device(out: Path, kernels: str) -> None:
    for name in kernels.split():
        make: Any = {"MALA": ns.MALA, "NUTS": NUTS, "AIES": AIES}[name]
        alone = run(make(TARGET.model), num_samples=30, num_chains=24)
        tree = az.from_zarr(out / f"{name}.zarr")
        assert tree.attrs["complete"] == 1
        for group in ("warmup_posterior", "posterior"):
            for site, values in alone[group].data_vars.items():
                np.testing.assert_allclose(tree[group][site], values, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_eight_devices_draw_what_one_draws(tmp_path: Path) -> None:
    spread(tmp_path, "MALA NUTS AIES", devices=8, processes=1)
    assert_as_on_one_device(tmp_path, "MALA NUTS AIES")


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(tmp_path: Path) -> None:
    spread(tmp_path, "MALA AIES", devices=2, processes=2)
    assert_as_on_one_device(tmp_path, "MALA AIES")


def test_eight_devices_in_short(tmp_path: Path) -> None:
    spread(tmp_path, "MALA", devices=8, processes=1)
    assert_as_on_one_device(tmp_path, "MALA")


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "options", "complaint"),
    [
        (ns.MALA, {"chain_batch_size": 0}, "chain_batch_size is 0"),
        (AIES, {"chain_batch_size": 4}, "each of its chains moves by where the others are"),
        (AIES, {"num_superchains": 3}, "must not start at one point"),
        (ns.MALA, {"num_superchains": 5}, "divide num_chains=12"),
        (ns.MALA, {"num_superchains": 1}, "at least 2"),
    ],
)
def test_layouts_that_cannot_be(kernel: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        run(kernel(TARGET.model), **options)


def test_meshes_that_cannot_be(unchecked: None) -> None:
    mesh: Any = Mesh(np.array(jax.devices() * 5), ("chain",))
    with pytest.raises(ValueError, match="cannot be split evenly over the 5 devices"):
        make_layout(ns.MALA(TARGET.model), 12, None, mesh)
    with pytest.raises(TypeError, match=r"must be a jax\.sharding\.Mesh, but is a list"):
        make_layout(ns.MALA(TARGET.model), 12, None, [1, 2])  # type: ignore[arg-type]

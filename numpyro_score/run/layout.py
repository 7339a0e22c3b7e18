"""How chains lie on devices: batches that bound memory, shards over a mesh, shares of processes.

Chains are independent but for the pooled warmup and ensembles, so that a leading chain axis is all
there is to lay out. The compiler's partitioner (`jax.sharding`) splits every array that has it and
adds the communication that pooling needs; what is shared is on every device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.checks import check_whole


@dataclass(frozen=True)
class ChainMap:
    """Makes a function of one chain one of all of them, in batches; hashable by what it does.

    Attributes
    ----------
    chain_batch_size
        Chains that a device works on at once; None for all that it has.
    num_devices
        Devices over which the chains are split.
    """

    chain_batch_size: int | None
    num_devices: int

    def __call__(self, one: Callable[..., Any]) -> Callable[..., Any]:
        """The function of all chains."""
        return _in_batches(jax.vmap(one), self.chain_batch_size, self.num_devices)


class Layout(NamedTuple):
    """Where the chains of a run are; hashable, as a part of what is compiled.

    Attributes
    ----------
    num_chains
        Chains in all.
    chain_batch_size
        Chains that a device works on at once; None for all that it has.
    mesh
        Devices over which the chains are split evenly; None for the default one.
    """

    num_chains: int
    chain_batch_size: int | None = None
    mesh: Mesh | None = None

    @property
    def num_devices(self) -> int:
        """Devices over which the chains are split."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def platform(self) -> str:
        """What runs the chains: "cpu", "gpu" or "tpu"."""
        return jax.default_backend() if self.mesh is None else self.mesh.devices.flat[0].platform

    @property
    def is_shared(self) -> bool:
        """Whether several processes run the chains."""
        return self.mesh is not None and self.mesh.is_multi_process

    @property
    def chains(self) -> range:
        """Chains that are on the devices of this process: one after the other."""
        if not self.is_shared:
            return range(self.num_chains)
        share = self.num_chains // jax.process_count()
        return range(jax.process_index() * share, (jax.process_index() + 1) * share)

    # -- inside the compiled program --------------------------------------------------------------

    def in_batches(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """`fn` of pytrees with a leading chain axis, called on `chain_batch_size` chains at a time.

        A batch takes as many chains from every device, so that all of them have work.
        """
        return _in_batches(fn, self.chain_batch_size, self.num_devices)

    @property
    def map_chains(self) -> "ChainMap":
        """Makes `one` chain's function a function of all of them."""
        return ChainMap(self.chain_batch_size, self.num_devices)

    def on_each_device(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """`fn` of independent chains, run by each device on its own ones, at its own pace.

        The partitioner would have a loop of unknown length (a tree of NUTS) wait for the longest
        of all devices at every turn.
        """
        if self.mesh is None:
            return self.in_batches(fn)
        spec = PartitionSpec(self.mesh.axis_names)
        local = _in_batches(fn, self.chain_batch_size, 1)
        return jax.shard_map(local, mesh=self.mesh, in_specs=spec, out_specs=spec, check_vma=False)

    def constrain(self, tree: Any, *, axis: int = 0) -> Any:
        """Tell the partitioner where each array is; the same for every chunk, or it recompiles."""
        if self.mesh is None:
            return tree
        return jax.tree.map(
            lambda x: jax.lax.with_sharding_constraint(x, self.sharding(x.shape, axis)), tree
        )

    # -- between host and devices -----------------------------------------------------------------

    def sharding(self, shape: tuple[int, ...], axis: int = 0) -> NamedSharding | None:
        """Where an array is that has its chains on `axis`; without them it is on every device."""
        if self.mesh is None:
            return None
        return NamedSharding(self.mesh, self._spec(shape, axis))

    def _spec(self, shape: tuple[int, ...], axis: int) -> PartitionSpec:
        assert self.mesh is not None
        if len(shape) > axis and shape[axis] == self.num_chains:
            return PartitionSpec(*[None] * axis, self.mesh.axis_names)
        return PartitionSpec()

    def place(self, tree: Any) -> Any:
        """Arrays that every process has whole, put where they belong."""
        if self.mesh is None:
            return tree
        return _on_data(
            lambda x, shape: jax.device_put(np.asarray(x), self.sharding(shape)), tree, tree
        )

    def to_host(self, tree: Any, *, axis: int = 0) -> Any:
        """What is on this process's devices, as NumPy arrays; keys as their data."""
        tree = jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, tree)
        if not self.is_shared:
            return jax.tree.map(np.asarray, tree if self.platform == "cpu" else _pinned(tree))
        mesh = self.mesh
        assert mesh is not None

        def fetch(x: Any) -> np.ndarray:
            spec = self._spec(x.shape, axis)
            return np.asarray(multihost_utils.global_array_to_host_local_array(x, mesh, spec))

        return jax.tree.map(fetch, tree)

    def from_host(self, values: list[np.ndarray], like: Any) -> Any:
        """Inverse of `to_host`, from the leaves' values, in the structure of `like`."""
        tree = jax.tree.unflatten(jax.tree.structure(like), values)

        def put(x: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
            if self.mesh is None:
                return jnp.asarray(x)
            sharding = self.sharding(shape)
            assert sharding is not None
            if sharding.is_fully_replicated:
                return jax.device_put(x, sharding)
            return jax.make_array_from_process_local_data(sharding, x)

        return _on_data(put, tree, like)

    # -- between processes ------------------------------------------------------------------------

    def agree(self, value: int) -> int:
        """The first process's `value`, in all of them."""
        if not self.is_shared:
            return value
        return int(multihost_utils.broadcast_one_to_all(np.int32(value)))

    def all_agree(self, is_fine: bool) -> bool:
        """Whether all processes are fine; all of them wait for one another here."""
        if not self.is_shared:
            return is_fine
        return bool(np.all(multihost_utils.process_allgather(np.asarray(is_fine))))

    def gather(self, tree: Any) -> Any:
        """Chains of all processes, from NumPy arrays of each one's own."""
        if not self.is_shared:
            return tree
        return multihost_utils.process_allgather(tree, tiled=True)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _pinned(tree: Any) -> Any:
    """Arrays of an accelerator, copied to memory of the host that it can write to directly.

    All copies are under way before the first is waited for. A copy to ordinary memory goes through
    the driver's small buffer: on one card 1.8 GB/s in place of 53.
    """
    kinds = {memory.kind for memory in jax.devices()[0].addressable_memories()}
    if "pinned_host" not in kinds:
        return tree
    where = jax.tree.map(lambda x: x.sharding.with_memory_kind("pinned_host"), tree)
    return jax.device_put(tree, where)


def _on_data(put: Callable[[Any, tuple[int, ...]], jax.Array], tree: Any, like: Any) -> Any:
    """`put` of every leaf and its global shape; of a key's data where `like` has keys."""

    def one(x: Any, old: Any) -> jax.Array:
        if not _is_key(old):
            return put(x, old.shape)
        data = jax.random.key_data(x) if _is_key(x) else x
        shape = (*old.shape, *np.shape(data)[len(old.shape) :])
        return jax.random.wrap_key_data(put(data, shape), impl=jax.random.key_impl(old))

    return jax.tree.map(one, tree, like)


def _in_batches(fn: Callable[..., Any], size: int | None, shards: int) -> Callable[..., Any]:
    def in_batches(*args: Any) -> Any:
        share = len(jax.tree.leaves(args)[0]) // shards
        if size is None or size >= share:
            return fn(*args)
        whole = share - share % size

        def first(x: jax.Array) -> jax.Array:
            """Whole batches of every shard: `(batch, shards * size, ...)`."""
            rows = x.reshape(shards, share, *x.shape[1:])[:, :whole]
            split = rows.reshape(shards, whole // size, size, *x.shape[1:])
            return jnp.swapaxes(split, 0, 1).reshape(whole // size, shards * size, *x.shape[1:])

        def rest(x: jax.Array) -> jax.Array:
            rows = x.reshape(shards, share, *x.shape[1:])[:, whole:]
            return rows.reshape(-1, *x.shape[1:])

        def joined(main: jax.Array, last: jax.Array) -> jax.Array:
            shape = main.shape[2:]
            split = jnp.swapaxes(main.reshape(whole // size, shards, size, *shape), 0, 1)
            rows = split.reshape(shards, whole, *shape)
            if whole < share:
                rows = jnp.concatenate([rows, last.reshape(shards, -1, *shape)], axis=1)
            return rows.reshape(shards * share, *shape)

        main = jax.lax.map(lambda batch: fn(*batch), jax.tree.map(first, args))
        last = main if whole == share else fn(*jax.tree.map(rest, args))
        return jax.tree.map(joined, main, last)

    return in_batches


def make_layout(
    kernel: MCMCKernel, num_chains: int, chain_batch_size: int | None, mesh: Mesh | None
) -> Layout:
    """The layout of a run, checked.

    Raises
    ------
    ValueError, TypeError
        If the batch size is not positive or the chains of the kernel interact, or the mesh does not
        divide the chains evenly or leaves a process out.
    """
    if chain_batch_size is not None:
        check_whole("chain_batch_size", chain_batch_size, hint="None runs all chains at once.")
        if kernel.is_ensemble_kernel:
            raise ValueError(
                f"chain_batch_size={chain_batch_size} cannot be used with {type(kernel).__name__}: "
                "each of its chains moves by where the others are; leave it out."
            )
    if mesh is None:
        if jax.process_count() == 1:
            return Layout(num_chains, chain_batch_size)
        mesh = Mesh(np.asarray(jax.devices()), ("chain",))
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"mesh must be a jax.sharding.Mesh, but is a {type(mesh).__name__}; make one with "
            'jax.make_mesh((jax.device_count(),), ("chain",)).'
        )
    if num_chains % mesh.size:
        raise ValueError(
            f"num_chains={num_chains} cannot be split evenly over the {mesh.size} devices of the "
            f"mesh; give a multiple of {mesh.size}."
        )
    processes = [device.process_index for device in mesh.devices.flat]
    share = mesh.size // jax.process_count()
    if processes != [process for process in range(jax.process_count()) for _ in range(share)]:
        raise ValueError(
            "the mesh must hold as many devices of every process, in the order of the processes; "
            'jax.sharding.Mesh(jax.devices(), ("chain",)) does.'
        )
    # axes that the partitioner handles: those of jax.make_mesh are to be handled by the model
    automatic = (AxisType.Auto,) * len(mesh.axis_names)
    return Layout(num_chains, chain_batch_size, Mesh(mesh.devices, mesh.axis_names, automatic))

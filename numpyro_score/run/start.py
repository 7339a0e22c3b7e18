"""Where the chains of a run start: a state of all of them, however many fit on a device at once."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.infer import HMC
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.checks import check_whole
from numpyro_score.run.program import Program, field
from numpyro_score.run.protocol import BatchedKernel


def init(
    program: Program,
    rng_keys: Any,
    num_warmup: int,
    init_params: Any,
    *,
    jit_model_args: bool = False,
) -> Any:
    """State of all chains, in its place on the devices.

    Parameters
    ----------
    program
        What is to run; its fields are not looked at.
    rng_keys
        A key for each chain.
    num_warmup
        Steps of the warmup.
    init_params
        Starting points with a leading chain axis, or None.
    jit_model_args
        Whether the program that starts the chains serves other data of the same shapes.

    Raises
    ------
    ValueError
        If the start is missing, misshapen, or not of finite log density and gradient.
    """
    kernel, layout = program.kernel, program.layout
    if isinstance(kernel, HMC):
        return layout.place(_init_hmc(program, rng_keys, num_warmup, init_params))
    if not isinstance(kernel, BatchedKernel):
        one = partial(_init, program, num_warmup)
        every = one if kernel.is_ensemble_kernel else layout.map_chains(one)
        return layout.place(every(rng_keys, init_params))
    size = layout.chain_batch_size
    if size is not None and size < len(rng_keys) and init_params is None:
        # a model looks for its starting points, too, with a batch of chains at a time
        def start(rng_key: Any) -> Any:
            return _init(program, num_warmup, rng_key, None).z

        init_params = layout.map_chains(start)(rng_keys)
    options: dict[str, Any] = {"map_chains": layout.map_chains}
    if jit_model_args:
        options["jit_model_args"] = True
    state = _init(program, num_warmup, rng_keys, init_params, **options)
    return layout.place(state)


def superchains(
    program: Program, rng_keys: Any, num_warmup: int, init_params: Any, num_superchains: int
) -> Any:
    """Starting points that all chains of a superchain share: those of its first chain.

    Nested R-hat compares superchains whose chains start at one point and are independent from there
    on (Margossian et al. 2024, arXiv:2110.13017).

    Parameters
    ----------
    program, rng_keys, num_warmup
        As for `init`.
    init_params
        One point a superchain, or None for the kernel's own.
    num_superchains
        How many; it divides the number of chains.
    """
    size = len(rng_keys) // num_superchains
    if init_params is None:
        first = program._replace(layout=program.layout._replace(mesh=None))
        state = init(first, rng_keys[::size], num_warmup, None)
        init_params = field(state, program.kernel.sample_field)
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x), size, axis=0), init_params)


def check_superchains(kernel: MCMCKernel, num_chains: int, num_superchains: int | None) -> None:
    """Refuse what cannot be divided into superchains.

    Raises
    ------
    ValueError
        If they do not divide the chains, or the chains of the kernel interact.
    """
    if num_superchains is None:
        return
    if kernel.is_ensemble_kernel:
        raise ValueError(
            f"num_superchains cannot be used with {type(kernel).__name__}: each of its chains "
            "moves by where the others are, and they must not start at one point; leave it out."
        )
    check_whole("num_superchains", num_superchains, 2)
    if num_chains % num_superchains:
        raise ValueError(
            f"num_superchains is {num_superchains!r}, but must be at least 2 and divide "
            f"num_chains={num_chains}."
        )


def _init(program: Program, num_warmup: int, rng_key: Any, init_params: Any, **options: Any) -> Any:
    args, kwargs = program.constants.args, program.constants.kwargs
    return program.kernel.init(rng_key, num_warmup, init_params, args, kwargs, **options)


def _init_hmc(program: Program, rng_keys: Any, num_warmup: int, init_params: Any) -> Any:
    """NumPyro's HMC maps itself over chains, and its init cannot be mapped: a call a batch."""
    size = program.layout.chain_batch_size or len(rng_keys)
    states = []
    for begin in range(0, len(rng_keys), size):
        part = slice(begin, begin + size)
        points = jax.tree.map(lambda x, part=part: jnp.asarray(x)[part], init_params)
        # each init of a batch maps the step over chains once more, unless it is made anew
        program.kernel._init_fn = None
        states.append(_init(program, num_warmup, rng_keys[part], points))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *states)

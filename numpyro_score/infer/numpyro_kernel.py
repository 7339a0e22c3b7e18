"""NumPyro's `MCMCKernel` protocol for any `Sampler`: the one class of the package that has it.

A batch of chains (`chain_method="vectorized"`) is one program over a leading chain axis, with one
warmup pooled over all of them; a single chain (`sequential`, `parallel`, under `jax.vmap`, in a
Gibbs block) is a batch of one whose axis is hidden. Which one it is, is read off the keys.

Kernels that users construct derive from `NumPyroKernel`, call its constructor with a problem and a
sampler, and override nothing.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from numpyro.infer.mcmc import MCMCKernel
from numpyro.util import is_prng_key

from numpyro_score.constants import Constants
from numpyro_score.fingerprint import describe
from numpyro_score.infer.draw_space import DrawSpace
from numpyro_score.infer.preparing import Preparer
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.sampler import Context, Sampler, add_axis, first, map_one, split_keys
from numpyro_score.infer.state import KernelState, first_state, next_state
from numpyro_score.learned.preparation import Preparation
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import MapChains, RngKey

STANDARD_FIELDS = ("diverging", "num_grad", "num_logdensity")
"""What every kernel reports besides the draw."""


class NumPyroKernel(MCMCKernel):
    """A sampler of a problem, in NumPyro's protocol.

    Parameters
    ----------
    problem, sampler
        What is sampled, and how.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro.infer import MCMC
    >>> from numpyro_score.infer import Problem, markov
    >>> from numpyro_score.kernels import mala
    >>> from numpyro_score.kernels.signature import algorithm_of
    >>> problem = Problem("My kernel", None, None, lambda x: -0.5 * jnp.sum(x**2))
    >>> kernel = NumPyroKernel(problem, markov(algorithm_of(mala, {})))
    >>> mcmc = MCMC(kernel, num_warmup=100, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(2))
    >>> mcmc.get_samples().shape, kernel.exact
    ((100, 2), True)
    """

    maps_chains = True

    def __init__(self, problem: Problem | DrawSpace, sampler: Sampler) -> None:
        self._problem = problem
        self._sampler = sampler
        self._preparer = self._new_preparer()
        # called with the progress of `prepare`; `numpyro_score.sample` sets it
        self.progress_callback: ProgressCallback | None = None
        # NumPyro's MCMC initializes a kernel again on every run unless this is set
        self._sample_fn: Callable[..., Any] | None = None

    @property
    def model(self) -> Callable[..., Any] | None:
        """The NumPyro model, or None."""
        return self._problem.model

    @property
    def exact(self) -> bool:
        """Whether the stationary distribution is the target.

        True for accept/reject with the exact ratio, at temperature 1. A learned flow is exact as
        long as no fold of its map goes undetected; `is_lost` marks positions that it did not reach.
        """
        return self._sampler.is_exact

    @property
    def draws_are_independent(self) -> bool:
        """Whether a draw does not depend on the ones before it."""
        return self._sampler.draws_are_independent

    @property
    def target_accept_prob(self) -> float | None:
        """Acceptance that warmup tunes the step size to; None where it does not."""
        return self._sampler.target_accept_prob

    @property
    def settings(self) -> dict[str, Any]:
        """What the kernel was given, to distinguish runs: plain values, names and fingerprints."""
        return {name: describe(value) for name, value in self._sampler.settings.items()}

    @property
    def attributes(self) -> dict[str, Any]:
        """What a run records of what was learned, its cost above all; empty before it is."""
        return self._preparer.attributes

    @property
    def sample_field(self) -> str:
        """Name of the state's field that is the draw."""
        return "z"

    @property
    def default_fields(self) -> tuple[str, ...]:
        """Fields that `MCMC` collects, by the names that `arviz.from_numpyro` knows."""
        return (self.sample_field, *self._sampler.fields, *STANDARD_FIELDS)

    def get_diagnostics_str(self, state: KernelState) -> str:
        """Line for the progress bar."""
        return self._sampler.describe(state)

    def fit(self, rng_key: RngKey, *args: Any, init_params: Any = None, **kwargs: Any) -> Any:
        """Learn of the target now; once for the kernel and its data.

        Parameters
        ----------
        rng_key
            One key.
        args, kwargs
            What the model is called with.
        init_params
            One unconstrained position, needed without a model and without `reference=`; its values
            are ignored.

        Returns
        -------
        What was learned, which the kernel keeps.

        Raises
        ------
        ValueError
            If the kernel learns nothing, exploration does not arrive at the target, or there is no
            position to learn shapes from.
        """
        self._preparer.run(
            rng_key, self._problem, args, kwargs, init_params, self.progress_callback
        )
        return self._preparer.preparation

    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
        jit_model_args: bool = False,
    ) -> KernelState:
        """State to start from, of one chain for one key, of as many chains for a batch of keys.

        Parameters
        ----------
        rng_key, num_warmup, init_params, model_args, model_kwargs
            As for every NumPyro kernel.
        map_chains
            Makes a function of one chain one of all of them; what NumPyro does not ask for.
        jit_model_args
            Whether the program serves other data of the same shapes and types.

        Raises
        ------
        ValueError
            If the start is missing, misshapen, or not of finite log density and gradient.
        """
        kwargs = dict(model_kwargs or {})
        if self._sampler.prepare is not None:
            init_params = self._preparer.start(
                rng_key, self._problem, model_args, kwargs, init_params, self.progress_callback
            )
        if init_params is not None:
            init_params = jax.tree.map(jnp.asarray, init_params)
        inputs = (rng_key, num_warmup, init_params)
        begin = partial(self._begin, *inputs, model_args, kwargs, map_chains)
        if any(
            isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((inputs, model_args, kwargs))
        ):
            state = begin()
        else:
            constants, arrays = Constants(self, model_args, kwargs), None
            if jit_model_args:
                constants, arrays = constants.split()
            learned = eqx.filter(self._preparer.learned, eqx.is_array)
            state, self._problem.found = _begin(
                self, constants, map_chains, *inputs, learned, arrays
            )
            if not self._problem.is_started(was_given=init_params is not None):
                # NumPyro says what is wrong where it sees values
                state = begin()
        self._problem.check_start(rng_key, state.kernel_state, model_args, kwargs)
        self._sample_fn = self.sample
        return state

    def _begin(
        self,
        rng_key: Any,
        num_warmup: Any,
        init_params: Any,
        args: Any,
        kwargs: dict[str, Any],
        map_chains: MapChains,
        learned: Any = None,
    ) -> KernelState:
        """State to start from; all of it may be traced."""
        is_single = is_prng_key(rng_key)
        rng_key, key_start, key_kernel = split_keys(rng_key, 3)
        position = self._problem.start(key_start, init_params, args, kwargs)
        known = self._preparer.learned
        if learned is not None:
            known = eqx.combine(learned, eqx.filter(known, eqx.is_array, inverse=True))
        context = self._context(args, kwargs, known, map_chains, is_single)
        keys, positions = add_axis((key_kernel, position)) if is_single else (key_kernel, position)
        return first_state(
            self._sampler.init(keys, positions, context, num_warmup),
            num_warmup,
            eqx.filter(known, eqx.is_array),
            rng_key,
            has_acceptance="accept_prob" in self._sampler.fields,
        )

    def sample(
        self,
        state: KernelState,
        model_args: Any,
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
        is_frozen: bool = False,
    ) -> KernelState:
        """One step of every chain; during warmup, one step of the adaptation too.

        Parameters
        ----------
        state, model_args, model_kwargs
            As for every NumPyro kernel.
        map_chains
            As for `init`.
        is_frozen
            True where the warmup is known to be over, for a program without a branch.
        """
        sampler, is_single = self._sampler, is_prng_key(state.rng_key)
        rng_key, key_step = split_keys(state.rng_key, 2)
        static = eqx.filter(self._preparer.learned, eqx.is_array, inverse=True)
        learned = eqx.combine(state.learned, static)
        context = self._context(model_args, model_kwargs or {}, learned, map_chains, is_single)
        step_number = state.step_number + 1

        def branch(in_warmup: Callable[[], Any], after: Callable[[], Any]) -> Any:
            return after() if is_frozen else jax.lax.cond(step_number <= 0, in_warmup, after)

        keys = add_axis(key_step) if is_single else key_step
        arguments = (keys, state.as_batch(is_single=is_single), context, step_number)
        step = partial(sampler.step, *arguments)
        if sampler.warmup_step is not None:
            step = partial(branch, partial(sampler.warmup_step, *arguments), step)
        new, info = step()
        if state.accept_prob is not None:
            # a kernel that meets a NaN may report it as its acceptance
            rate = jnp.asarray(info.acceptance_rate, state.accept_prob.dtype)
            info = info._replace(acceptance_rate=jnp.nan_to_num(rate))
        tune = sampler.tune
        if tune is not None:

            def adapt() -> tuple[Any, Any]:
                # the keys of the chains' next steps, so that steps after warmup split none for it
                later, key_tune = split_keys(rng_key, 2)
                return tune(key_tune if is_single else key_tune[0], new, info), later

            new, rng_key = branch(adapt, lambda: (new, rng_key))
        return next_state(state, new, info, step_number, rng_key)

    def _context(
        self, args: Any, kwargs: Any, learned: Any, map_chains: MapChains, is_single: bool
    ) -> Context:
        every = map_one if is_single else map_chains
        density = self._problem.logdensity_fn(args, kwargs)
        return Context(density, self._problem.model, args, kwargs, learned, every)

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to the model's constrained sites."""
        return self._problem.postprocess_fn(model_args, model_kwargs)

    def get_constrain_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to site values, which does not run the model."""
        return self._problem.constrain_fn(model_args, model_kwargs)

    def refresh(self, state: KernelState, model_args: Any, model_kwargs: Any) -> KernelState:
        """The state with all that belongs to the target evaluated anew at the same position.

        Raises
        ------
        ValueError
            If the sampler cannot follow a target that changes.
        """
        if self._sampler.refresh is None:
            raise ValueError(
                f"{self._problem.owner} cannot be a block of Gibbs: it works for one posterior, "
                "and the other blocks change it at every step. Use MALA or NUTS for the block."
            )
        is_single = is_prng_key(state.rng_key)
        context = self._context(model_args, model_kwargs, None, jax.vmap, is_single)
        # the key of the next step must not be used here
        key = split_keys(state.rng_key, 2)[0]
        batch = state.as_batch(is_single=is_single)
        chains = self._sampler.refresh(add_axis(key) if is_single else key, batch.chains, context)
        return state._replace(kernel_state=first(chains) if is_single else chains)

    def wrap_model(self, wrapper: Callable[..., Any]) -> Self:
        """Copy of this kernel on `wrapper(model)`, which has learned nothing yet.

        Raises
        ------
        ValueError
            If the kernel has no model.
        """
        kernel = copy.copy(self)
        kernel._problem = self._problem.with_model(wrapper)
        kernel._preparer = self._new_preparer()
        kernel._sample_fn = None
        return kernel

    def _use(self, preparation: Preparation) -> None:
        """Sample with what was learned elsewhere, whatever the data."""
        self._preparer = self._new_preparer(preparation)

    def _new_preparer(self, preparation: Preparation | None = None) -> Preparer:
        sampler = self._sampler
        return Preparer(self._problem.owner, sampler.prepare, preparation, sampler.template)

    def __getstate__(self) -> dict[str, Any]:
        # a kernel that was pickled has to be initialized before it samples
        return {**self.__dict__, "_sample_fn": None, "progress_callback": None}


@partial(jax.jit, static_argnames=("kernel", "constants", "map_chains"))
def _begin(
    kernel: NumPyroKernel,
    constants: Constants,
    map_chains: MapChains,
    rng_key: Any,
    num_warmup: Any,
    init_params: Any,
    learned: Any,
    arrays: Any,
) -> tuple[KernelState, Any]:
    """State to start from and what was found out about the model, by one program.

    Evaluated one by one, every operation would be compiled for itself.
    """
    constants = constants.bound(arrays)
    args, kwargs = constants.args, constants.kwargs
    state = kernel._begin(rng_key, num_warmup, init_params, args, kwargs, map_chains, learned)
    return state, kernel._problem.found

"""NumPyro's `MCMCKernel` protocol for any `Sampler`: the one class of the package that has it.

A batch of chains (`chain_method="vectorized"`) is one program over a leading chain axis, with one
warmup pooled over all of them; a single chain (`sequential`, `parallel`, under `jax.vmap`, in a
Gibbs block) is a batch of one whose axis is hidden. Which one it is, is read off the keys.

Kernels that users construct derive from `NumPyroKernel` and override nothing.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
from numpyro.infer.mcmc import MCMCKernel
from numpyro.util import is_prng_key

from numpyro_score.compilation import ONCE, is_tracing
from numpyro_score.constants import Constants
from numpyro_score.fingerprint import describe
from numpyro_score.infer.draw_space import DrawSpace
from numpyro_score.infer.preparing import Preparer
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.sampler import Context, Sampler, map_one, split_keys
from numpyro_score.infer.state import KernelState
from numpyro_score.infer.transition import advance, begin, refreshed
from numpyro_score.learned.preparation import Preparation
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import LogDensityFn, MapChains, RngKey

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
        # of `prepare`; `numpyro_score.sample` sets it
        self.progress_callback: ProgressCallback | None = None
        # MCMC initializes a kernel again on every run unless this is set
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

    def remark(self, state: KernelState) -> str | None:
        """What a user has to know of a run's last draws, of all chains; None for nothing."""
        return None if self._sampler.remark is None else self._sampler.remark(state)

    def fit(self, rng_key: RngKey, *args: Any, init_params: Any = None, **kwargs: Any) -> Any:
        """Learn of the target now; once for the kernel and its data.

        Parameters
        ----------
        rng_key
            One key.
        args, kwargs
            What the model is called with.
        init_params
            One unconstrained position, its values ignored; for functions without `reference=`.

        Returns
        -------
        What was learned, which the kernel keeps.

        Raises
        ------
        ValueError
            If the kernel learns nothing, exploration does not arrive at the target, or there is no
            position to learn shapes from.
        """
        given = self._problem, args, kwargs, init_params
        self._preparer.run(rng_key, *given, self.progress_callback)
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
            given = self._problem, model_args, kwargs, init_params
            init_params = self._preparer.start(rng_key, *given, self.progress_callback)
        inputs = rng_key, num_warmup, jax.tree.map(jnp.asarray, init_params)
        learned = self._preparer.arrays
        start = partial(self._begin, inputs, model_args, kwargs, map_chains, learned)
        leaves = jax.tree.leaves((inputs, model_args, kwargs))
        if is_tracing() or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            state = start()
        else:
            constants, arrays = Constants(self, model_args, kwargs), None
            if jit_model_args:
                constants, arrays = constants.split()
            known = constants, map_chains, inputs, learned, arrays
            state, self._problem.found = _begin(self, *known)
            if not self._problem.is_started(was_given=init_params is not None):
                # NumPyro says what is wrong where it sees values
                state = start()
        self._problem.check_start(rng_key, state.kernel_state, model_args, kwargs)
        self._sample_fn = self.sample
        return state

    def _begin(
        self, inputs: Any, args: Any, kwargs: Any, map_chains: MapChains, learned: Any
    ) -> KernelState:
        """State to start from; all of it may be traced."""
        rng_key, num_warmup, init_params = inputs
        rng_key, key_position, key_start = split_keys(rng_key, 3)
        position = self._problem.start(key_position, init_params, args, kwargs)
        context = self._context(rng_key, args, kwargs, learned, map_chains)
        return begin(self._sampler, rng_key, key_start, position, context, num_warmup, learned)

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
        known = state.rng_key, model_args, model_kwargs or {}
        context = self._context(*known, state.learned, map_chains)
        return advance(self._sampler, state, context, is_frozen=is_frozen)

    def _context(
        self, rng_key: Any, args: Any, kwargs: Any, learned: Any, map_chains: MapChains
    ) -> Context:
        every = map_one if is_prng_key(rng_key) else map_chains
        density = self._problem.logdensity_fn(args, kwargs)
        learned = self._preparer.learned_with(learned)
        return Context(density, self._problem.model, args, kwargs, learned, every)

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to the model's constrained sites."""
        return self._problem.postprocess_fn(model_args, model_kwargs)

    def logdensity_fn(self, model_args: Any, model_kwargs: Any) -> LogDensityFn | None:
        """Log density of an unconstrained position; None where only a score is known."""
        return self._problem.logdensity_fn(model_args, model_kwargs)

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
        context = self._context(state.rng_key, model_args, model_kwargs, state.learned, jax.vmap)
        return refreshed(self._sampler.refresh, state, context)

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

    def _new_preparer(self, known: Preparation | None = None) -> Preparer:
        return Preparer(self._problem.owner, self._sampler.prepare, known, self._sampler.template)

    def __getstate__(self) -> dict[str, Any]:
        # a kernel that was pickled has to be initialized before it samples
        return {**self.__dict__, "_sample_fn": None, "progress_callback": None}


@partial(
    jax.jit,
    static_argnames=("kernel", "constants", "map_chains"),
    compiler_options=ONCE,
)
def _begin(
    kernel: NumPyroKernel, constants: Constants, map_chains: MapChains, inputs: Any, *arrays: Any
) -> tuple[KernelState, Any]:
    """State to start from, and what was found out about the model: compiled at once, not by op."""
    learned, data = arrays
    constants = constants.bound(data)
    state = kernel._begin(inputs, constants.args, constants.kwargs, map_chains, learned)
    return state, kernel._problem.found

"""NumPyro's `MCMCKernel` protocol for any kernel in BlackJAX's protocol.

The one `MCMCKernel` with logic: warmup, batches of chains, models and their arguments. Each kernel
of the package is a thin class over it that names its algorithm and its defaults.

A batch of chains (`chain_method="vectorized"`) is one program over a leading chain axis, with one
warmup pooled over all of them; a single chain (`sequential`, `parallel`, under `jax.vmap`, in a
Gibbs block) is the same program without that axis. Which one it is, is read off the keys.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.initialization import init_to_uniform
from numpyro.util import is_prng_key

from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.infer.batched import BatchedKernel, MapChains
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.state import AdapterState, AdaptState
from numpyro_score.infer.tuning import make_tuning
from numpyro_score.preconditioner import check_inverse_mass_matrix
from numpyro_score.types import LogDensityFn, Position

TARGET_FIELDS = ("logdensity", "logdensity_grad", "log_proposal")
"""Fields of a kernel's state whose value belongs to the target at the position."""


def _split(rng_key: Any, num: int) -> Any:
    """`jax.random.split` for one key or a batch: `num` keys, or `num` batches of keys."""
    if is_prng_key(rng_key):
        return jax.random.split(rng_key, num)
    return jnp.swapaxes(jax.vmap(partial(jax.random.split, num=num))(rng_key), 0, 1)


def _ravel(position: Position) -> Float[Array, " dim"]:
    return ravel_pytree(position)[0]


def _add_axis(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[None], tree)


class AdapterKernel(BatchedKernel):
    """A BlackJAX-protocol algorithm as a NumPyro kernel; its leaves are what users construct.

    Parameters
    ----------
    algorithm
        The kernel, its parameters and its defaults.
    model, potential_fn, logdensity_fn
        What to sample, exactly one of: a NumPyro model, a function from an unconstrained position
        to its potential energy, or one to its log density.
    step_size, inverse_mass_matrix
        Where warmup starts, or what is used if it does not adapt. By default a step size that is
        right for a good preconditioner, and a diagonal one from the gradients at the start.
    adapt_step_size, adapt_mass_matrix
        What warmup learns; None for all that the algorithm has and that can be learned.
    dense_mass
        Whether the inverse mass matrix is a full matrix.
    target_accept_prob
        Acceptance that the step size is tuned to; None for the algorithm's best.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    restart_stuck_chains
        Whether, in warmup, a chain that is left far below the others restarts from another's
        place. Switch it off where modes differ in log density by more than `10 dim`.

    Raises
    ------
    ValueError, TypeError
        If what is to be sampled is missing or given twice, or a parameter cannot be used.
    """

    _state_type: type[AdapterState] = AdapterState
    # whether a step has a size that means something to a user
    _tells_step_size = True

    def __init__(
        self,
        algorithm: Algorithm,
        model: Callable[..., Any] | None,
        potential_fn: Callable[[Any], Any] | None,
        logdensity_fn: LogDensityFn | None,
        *,
        step_size: float | None = None,
        inverse_mass_matrix: Any = None,
        adapt_step_size: bool | None = None,
        adapt_mass_matrix: bool | None = None,
        dense_mass: bool = False,
        target_accept_prob: float | None = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
        restart_stuck_chains: bool = True,
    ) -> None:
        self._algorithm = algorithm
        self._problem = Problem(
            type(self).__name__,
            model,
            potential_fn,
            logdensity_fn,
            needs_density=algorithm.parameters.get("score_fn") is None,
            init_strategy=init_strategy,
        )
        self._tuning = make_tuning(
            algorithm,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            adapt_step_size=adapt_step_size,
            adapt_mass_matrix=adapt_mass_matrix,
            dense_mass=dense_mass,
            target_accept_prob=target_accept_prob,
            restart_stuck_chains=restart_stuck_chains,
        )
        # NumPyro's MCMC initializes a kernel again on every run unless this is set
        self._sample_fn: Callable[..., Any] | None = None

    @property
    def model(self) -> Callable[..., Any] | None:
        """The NumPyro model, or None."""
        return self._problem.model

    @property
    def exact(self) -> bool:
        """Whether the chain's invariant law is the target: accept/reject, at temperature 1."""
        temperature = self._algorithm.parameters.get("temperature", 1.0)
        return self._algorithm.is_exact and not callable(temperature) and temperature == 1.0

    @property
    def target_accept_prob(self) -> float | None:
        """Acceptance that warmup tunes the step size to; None where it does not."""
        return self._tuning.target_accept_prob if self._tuning.adapt_step_size else None

    @property
    def settings(self) -> dict[str, Any]:
        """What the kernel was given, in plain values and words, to tell one run from another."""
        given = {**self._tuning._asdict(), **self._algorithm.parameters}
        del given["algorithm"]
        plain = (bool, int, float, str, type(None))
        return {
            name: value if isinstance(value, plain) else getattr(value, "__qualname__", repr(value))
            for name, value in given.items()
        }

    @property
    def sample_field(self) -> str:
        """Name of the state's field that is the draw."""
        return "z"

    @property
    def default_fields(self) -> tuple[str, ...]:
        """Fields that `MCMC` collects, by the names that `arviz.from_numpyro` knows."""
        own = ("z", "potential_energy", "accept_prob", "diverging", "num_grad", "num_logdensity")
        return (*own, "adapt_state.step_size") if self._tells_step_size else own

    def get_diagnostics_str(self, state: AdapterState) -> str:
        """Line for the progress bar."""
        step_size = float(jnp.mean(state.adapt_state.step_size))
        return f"step size {step_size:.2e}. acc. prob={float(jnp.mean(state.mean_accept_prob)):.2f}"

    def _bound_algorithm(self, model_args: Any, model_kwargs: Any) -> Algorithm:
        """The algorithm, given the model's arguments; a leaf may take parameters from the model."""
        del model_args, model_kwargs
        return self._algorithm

    # -- init -------------------------------------------------------------------------------------

    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
    ) -> AdapterState:
        """State to start from, of one chain for one key, of as many chains for a batch of keys.

        Parameters
        ----------
        rng_key, num_warmup, init_params, model_args, model_kwargs
            As for every NumPyro kernel.
        map_chains
            Makes a function of one chain one of all of them; what NumPyro does not ask for.

        Raises
        ------
        ValueError
            If the start is missing, misshapen, or not of finite log density and gradient.
        """
        kwargs = dict(model_kwargs or {})
        is_single = is_prng_key(rng_key)
        rng_key, key_start, key_kernel = _split(rng_key, 3)
        position = self._problem.start(key_start, init_params, model_args, kwargs)
        logdensity_fn = self._problem.logdensity_fn(model_args, kwargs)
        algorithm = self._bound_algorithm(model_args, kwargs)
        start = partial(algorithm.init, logdensity_fn=logdensity_fn)
        kernel_state = (start if is_single else map_chains(start))(key_kernel, position)
        kernel_state = self._started(kernel_state)
        grad = getattr(kernel_state, "logdensity_grad", None)
        self._problem.check_start(rng_key, kernel_state, model_args, kwargs)
        chains = (position, grad)
        positions, grads = _add_axis(chains) if is_single else chains
        flat = jax.vmap(_ravel)(positions)
        num_chains, dim = flat.shape
        check_inverse_mass_matrix(self._tuning.inverse_mass_matrix, dim)
        warmup = self._tuning.warmup(has_grad=grad is not None).init(
            flat,
            None if grad is None else jax.vmap(_ravel)(grads),
            self._tuning.first_step_size(dim),
            self._tuning.first_preconditioner(dim, flat.dtype),
            num_warmup if self._tuning.is_adapting else 0,
        )
        shape = () if is_single else (num_chains,)
        self._sample_fn = self.sample
        return self._state_type(
            i=jnp.zeros(shape, jnp.int32),
            kernel_state=kernel_state,
            accept_prob=jnp.zeros(shape, flat.dtype),
            mean_accept_prob=jnp.zeros(shape, flat.dtype),
            diverging=jnp.zeros(shape, bool),
            num_grad=jnp.zeros(shape, jnp.int32),
            num_logdensity=jnp.zeros(shape, jnp.int32),
            adapt_state=AdaptState(jnp.exp(warmup.log_step_size).reshape(shape), warmup),
            rng_key=rng_key,
        )

    # -- sample -----------------------------------------------------------------------------------

    def sample(
        self,
        state: AdapterState,
        model_args: Any,
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
        is_frozen: bool = False,
    ) -> AdapterState:
        """One step of every chain; while in warmup, one step of the adaptation too.

        Parameters
        ----------
        state, model_args, model_kwargs
            As for every NumPyro kernel.
        map_chains
            As for `init`.
        is_frozen
            True where the warmup is known to be over, for a program without a branch.
        """
        algorithm = self._bound_algorithm(model_args, model_kwargs)
        logdensity_fn = self._problem.logdensity_fn(model_args, model_kwargs)
        is_single = is_prng_key(state.rng_key)
        rng_key, key_step = _split(state.rng_key, 2)
        warmup = state.adapt_state.warmup

        def branch(in_warmup: Callable[[], Any], after: Callable[[], Any]) -> Any:
            if is_frozen:
                return after()
            return jax.lax.cond(warmup.step < warmup.num_warmup, in_warmup, after)

        def step(*, is_warmup: bool) -> tuple[Any, Any]:
            return self._step_chains(
                algorithm, key_step, state, logdensity_fn, map_chains, is_warmup=is_warmup
            )

        if algorithm.warmup_api is None:
            kernel_state, info = step(is_warmup=False)
        else:
            kernel_state, info = branch(
                partial(step, is_warmup=True), partial(step, is_warmup=False)
            )
        shape = jnp.shape(state.accept_prob)
        if self._tuning.adapt_step_size and not hasattr(info, "acceptance_rate"):
            raise ValueError(
                "the algorithm reports no acceptance rate, so its step size cannot be adapted; "
                'give parameters={"step_size": ...}.'
            )
        accept_prob = getattr(info, "acceptance_rate", jnp.ones(shape))
        # a kernel that meets a NaN may report it as its acceptance; it did not accept
        accept_prob = jnp.nan_to_num(jnp.asarray(accept_prob, state.accept_prob.dtype))
        adapt_state = state.adapt_state
        if self._tuning.is_adapting:
            kernel_state, adapt_state, rng_key = branch(
                lambda: self._adapt(adapt_state, kernel_state, accept_prob, rng_key, is_single),
                lambda: (kernel_state, adapt_state, rng_key),
            )
        i = state.i + 1
        count = jnp.where(i > warmup.num_warmup, i - warmup.num_warmup, i)
        mean = jnp.where(count == 1, 0.0, state.mean_accept_prob)
        num_grad, num_logdensity = algorithm.evaluations(info, state.kernel_state)
        return self._state_type(
            i=i,
            kernel_state=kernel_state,
            accept_prob=accept_prob,
            mean_accept_prob=mean + (accept_prob - mean) / jnp.asarray(count, mean.dtype),
            diverging=algorithm.is_divergent(info, kernel_state),
            num_grad=jnp.broadcast_to(jnp.asarray(num_grad, jnp.int32), shape),
            num_logdensity=jnp.broadcast_to(jnp.asarray(num_logdensity, jnp.int32), shape),
            adapt_state=adapt_state,
            rng_key=rng_key,
        )

    def _adapt(
        self,
        adapt_state: AdaptState,
        kernel_state: Any,
        accept_prob: Array,
        rng_key: Any,
        is_single: bool,
    ) -> tuple[Any, AdaptState, Any]:
        """One step of the warmup, which may move stuck chains to other chains' places.

        The key that it needs is split off the keys of the chains' next steps, so that steps after
        the warmup split none.
        """
        rng_key, key_warmup = _split(rng_key, 2)
        grad = getattr(kernel_state, "logdensity_grad", None)
        seen = (kernel_state.position, grad, kernel_state.logdensity, accept_prob)
        position, grad, logdensity, accept_prob = _add_axis(seen) if is_single else seen
        flat = jax.vmap(_ravel)(position)
        functions = self._tuning.warmup(has_grad=grad is not None)
        warmup, source = functions.update(
            adapt_state.warmup,
            key_warmup if is_single else key_warmup[0],
            flat,
            None if grad is None else jax.vmap(_ravel)(grad),
            logdensity,
            accept_prob,
        )
        if not is_single:
            kernel_state = self._taken(kernel_state, source)
        frozen = functions.final(warmup).log_step_size
        if not self._tuning.adapt_step_size:
            # whatever warmup used for itself, the draws use the step size that was asked for
            frozen = jnp.full_like(frozen, jnp.log(self._tuning.first_step_size(flat.shape[1])))
        is_last = warmup.step == warmup.num_warmup
        warmup = warmup._replace(log_step_size=jnp.where(is_last, frozen, warmup.log_step_size))
        step_size = jnp.exp(warmup.log_step_size).reshape(adapt_state.step_size.shape)
        return kernel_state, AdaptState(step_size, warmup), rng_key

    # -- what a leaf whose chains share something replaces ----------------------------------------

    def _started(self, kernel_state: Any) -> Any:
        """State to carry, given the algorithm's own, of one chain or of a batch."""
        return kernel_state

    def _step_chains(
        self,
        algorithm: Algorithm,
        keys: Any,
        state: AdapterState,
        logdensity_fn: LogDensityFn | None,
        map_chains: MapChains,
        *,
        is_warmup: bool,
    ) -> tuple[Any, Any]:
        """New kernel state and info of one chain for one key, of all of them for a batch."""
        preconditioner = state.adapt_state.warmup.preconditioner

        def one(key: Any, kernel_state: Any, step_size: Any) -> tuple[Any, Any]:
            return algorithm.step(
                key, kernel_state, logdensity_fn, step_size, preconditioner, is_warmup=is_warmup
            )

        every = one if is_prng_key(keys) else map_chains(one)
        return every(keys, state.kernel_state, state.adapt_state.step_size)

    def _taken(self, kernel_state: Any, source: Array) -> Any:
        """A batch in which chain i goes on from the place of chain `source[i]`."""
        return jax.tree.map(lambda x: x[source], kernel_state)

    # -- the rest of the protocol -----------------------------------------------------------------

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to the model's constrained sites."""
        return self._problem.postprocess_fn(model_args, model_kwargs)

    def get_constrain_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to site values, which does not run the model."""
        return self._problem.constrain_fn(model_args, model_kwargs)

    def refresh(self, state: AdapterState, model_args: Any, model_kwargs: Any) -> AdapterState:
        """The state with all that belongs to the target evaluated anew at the same position."""
        algorithm = self._bound_algorithm(model_args, model_kwargs)
        logdensity_fn = self._problem.logdensity_fn(model_args, model_kwargs)
        start = partial(algorithm.init, logdensity_fn=logdensity_fn)
        # an init that draws (a momentum) must not use the next step's key; what it draws is dropped
        fresh = (start if is_prng_key(state.rng_key) else jax.vmap(start))(
            _split(state.rng_key, 2)[0], state.z
        )
        fields = {k: getattr(fresh, k) for k in TARGET_FIELDS if hasattr(fresh, k)}
        return state._replace(kernel_state=state.kernel_state._replace(**fields))

    def wrap_model(self, wrapper: Callable[..., Any]) -> Self:
        """Copy of this kernel on `wrapper(model)`.

        Raises
        ------
        ValueError
            If the kernel has no model.
        """
        kernel = copy.copy(self)
        kernel._problem = self._problem.with_model(wrapper)
        kernel._sample_fn = None
        return kernel

    def __getstate__(self) -> dict[str, Any]:
        # a kernel that was pickled has to be initialized before it samples
        return {**self.__dict__, "_sample_fn": None}

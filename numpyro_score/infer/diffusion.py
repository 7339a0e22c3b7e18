"""Draws by finite-time samplers in NumPyro's protocol: what the three kernels of a score share.

There is no chain: each `sample` is one whole way from noise to data, so that draws are independent,
and no accept/reject corrects them. Warmup does nothing.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int
from numpyro.util import is_prng_key

from numpyro_score.infer.batched import BatchedKernel, MapChains
from numpyro_score.infer.problem import Problem
from numpyro_score.samplers import DiffusionSampler, FlowSampler
from numpyro_score.targets.numpyro_model import initialize
from numpyro_score.types import Position

Sampler = DiffusionSampler | FlowSampler


@runtime_checkable
class Drawer(Protocol):
    """What draws: `draw(rng_key)` is one point, flat or not, and how much was evaluated for it."""

    def draw(self, rng_key: Any) -> tuple[Array, Array]:
        """One independent draw."""


type Make = Callable[[tuple[int, ...]], Sampler]
"""Shape of a point -> the sampler of such points."""

type LogProb = Callable[[Any, Array], tuple[Array, Array]]
"""(sampler, flat point) -> log density, and how often the score was called for it."""


class DiffusionKernelState(NamedTuple):
    """State of a kernel of independent draws; fields of shape `chain` are scalars for one chain.

    Attributes
    ----------
    i
        Steps taken, warmup included.
    z
        The last draw, in unconstrained coordinates.
    potential_energy
        Minus its log density under the sampler's own law; None where that is not known.
    diverging
        Whether it holds numbers that are not finite.
    num_grad, num_logdensity
        Calls of the score for it; 0.
    num_warmup
        Steps that draw nothing.
    rng_key
        Key of the next step.
    """

    i: Int[Array, "*chain"]
    z: Position
    potential_energy: Float[Array, "*chain"] | None
    diverging: Bool[Array, "*chain"]
    num_grad: Int[Array, "*chain"]
    num_logdensity: Int[Array, "*chain"]
    num_warmup: Int[Array, "*any"]
    rng_key: Any


class _Drawn(NamedTuple):
    z: Position
    potential_energy: Any
    diverging: Any
    num_grad: Any


class DiffusionKernel(BatchedKernel):
    """Independent draws of a score as a NumPyro kernel; its leaves are what users construct.

    Parameters
    ----------
    model
        A NumPyro model in whose unconstrained space the draws live, in the order in which
        `ravel_pytree` joins its sites; None for draws as they are.
    score
        What drives the sampler.
    shape
        Shape of one point; by default that which the score knows.
    make
        Makes the sampler for a shape; None where a leaf makes it of the model's density.
    log_prob
        Log density of a draw, where there is one.
    settings
        What tells one kernel from another, in plain values.

    Raises
    ------
    ValueError, TypeError
        If the sampler cannot be made of what was given.
    """

    exact = False
    draws_are_independent = True

    def __init__(
        self,
        model: Callable[..., Any] | None,
        score: Any,
        shape: tuple[int, ...] | None,
        make: Make | None,
        *,
        log_prob: LogProb | None = None,
        settings: Mapping[str, Any],
    ) -> None:
        name = type(self).__name__
        self._problem = Problem(name, model, None, None, needs_density=False)
        self._score = score
        self._make = make
        self._log_prob = log_prob
        self._given = settings
        known = getattr(score, "shape", None) if shape is None else tuple(shape)
        if model is None and known is None:
            raise ValueError(
                f"{name} has no model and its score does not know the shape of a point; give "
                "shape=, such as (2,)"
            )
        self._shape = known
        if known is not None:
            self._sampler(known)
        # NumPyro's MCMC initializes a kernel again on every run unless this is set
        self._sample_fn: Callable[..., Any] | None = None

    @property
    def model(self) -> Callable[..., Any] | None:
        """The NumPyro model, or None."""
        return self._problem.model

    @property
    def settings(self) -> dict[str, Any]:
        """What the kernel was given, in plain values and words, and a digest of the score."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(eqx.filter(self._score, eqx.is_array)):
            digest.update(np.asarray(leaf).tobytes())
        name = getattr(self._score, "__qualname__", type(self._score).__qualname__)
        given = {k: getattr(v, "__qualname__", repr(v)) for k, v in self._given.items()}
        return {**given, "score": name, "score_digest": digest.hexdigest()[:16]}

    @property
    def sample_field(self) -> str:
        """Name of the state's field that is the draw."""
        return "z"

    @property
    def default_fields(self) -> tuple[str, ...]:
        """Fields that `MCMC` collects, by the names that `arviz.from_numpyro` knows."""
        density = () if self._log_prob is None else ("potential_energy",)
        return ("z", *density, "diverging", "num_grad", "num_logdensity")

    def get_diagnostics_str(self, state: DiffusionKernelState) -> str:
        """Line for the progress bar."""
        return f"{int(jnp.max(state.num_grad))} evaluations of the score a draw"

    # -- the sampler ------------------------------------------------------------------------------

    def _sampler(self, shape: tuple[int, ...]) -> Sampler:
        assert self._make is not None
        # its plan is made of numbers, not of traced values, wherever it is made
        with jax.ensure_compile_time_eval():
            return self._make(shape)

    def _sampler_of(self, like: Position, args: Any, kwargs: dict[str, Any]) -> Drawer:
        """The sampler of points like one; a leaf may make it of the model's density instead."""
        del args, kwargs
        shape = like.shape if self.model is None else ravel_pytree(like)[0].shape
        return self._sampler(shape)

    def _start(self, rng_key: Any, args: Any, kwargs: dict[str, Any]) -> Position:
        """A point of one chain: its structure is what counts.

        Raises
        ------
        ValueError
            If the score's points are not those of the model.
        """
        model = self.model
        if model is None:
            assert self._shape is not None
            return jnp.zeros(self._shape)
        # shapes alone, so that a score that does not fit is refused before anything is compiled
        shapes = jax.eval_shape(lambda key: initialize(key, model, args, kwargs)[0], rng_key)
        sizes = {name: int(np.prod(x.shape)) for name, x in shapes.items()}
        dim = sum(sizes.values())
        what = (
            f"{type(self).__name__}: the model has {dim} unconstrained latent coordinates "
            f"({', '.join(f'{name}: {size}' for name, size in sizes.items())})"
        )
        if self._shape not in (None, (dim,)):
            raise ValueError(
                f"{what}, but the score is one of points of shape {self._shape}; give a score that "
                f"was made for shape ({dim},), on the sites in this order"
            )
        try:
            if self._make is not None:
                self._sampler((dim,))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what}, and no sampler of such points can be made: {error}") from (
                error
            )
        return self._problem.start(rng_key, None, args, kwargs)

    # -- NumPyro's protocol -----------------------------------------------------------------------

    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
    ) -> DiffusionKernelState:
        """State before the first draw; `init_params` is what warmup shows, zeros by default.

        Raises
        ------
        ValueError
            If the score does not fit the model, or `init_params` neither.
        """
        del map_chains
        is_single = is_prng_key(rng_key)
        shape = () if is_single else (len(rng_key),)
        kwargs = dict(model_kwargs or {})
        one = self._start(rng_key if is_single else rng_key[0], model_args, kwargs)
        z = jax.tree.map(lambda x: jnp.zeros((*shape, *x.shape), x.dtype), one)
        if init_params is not None:
            expected = jax.tree.map(jnp.shape, z)
            given = jax.tree.map(jnp.shape, init_params)
            if given != expected:
                raise ValueError(
                    f"init_params has shapes {given} but draws have {expected}; leave it out: "
                    "draws do not depend on it"
                )
            z = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), init_params, z)
        self._sample_fn = self.sample
        dtype = jax.tree.leaves(z)[0].dtype
        return DiffusionKernelState(
            i=jnp.zeros(shape, jnp.int32),
            z=z,
            potential_energy=None if self._log_prob is None else jnp.full(shape, jnp.nan, dtype),
            diverging=jnp.zeros(shape, bool),
            num_grad=jnp.zeros(shape, jnp.int32),
            num_logdensity=jnp.zeros(shape, jnp.int32),
            num_warmup=jnp.asarray(num_warmup, jnp.int32),
            rng_key=rng_key,
        )

    def sample(
        self,
        state: DiffusionKernelState,
        model_args: Any,
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
        is_frozen: bool = False,
    ) -> DiffusionKernelState:
        """One whole draw of every chain; in warmup nothing."""
        is_single = is_prng_key(state.rng_key)
        if is_single:
            rng_key, key_draw = jax.random.split(state.rng_key)
        else:
            rng_key, key_draw = jnp.swapaxes(jax.vmap(jax.random.split)(state.rng_key), 0, 1)
        before = _Drawn(state.z, state.potential_energy, state.diverging, state.num_grad)
        like = state.z if is_single else jax.tree.map(lambda x: x[0], state.z)
        one = partial(self._draw, like, model_args, dict(model_kwargs or {}))

        def draw() -> _Drawn:
            return (one if is_single else map_chains(one))(key_draw)

        in_warmup = jnp.reshape(state.i, -1)[0] < jnp.max(state.num_warmup)
        drawn = draw() if is_frozen else jax.lax.cond(in_warmup, lambda: before, draw)
        return state._replace(i=state.i + 1, rng_key=rng_key, **drawn._asdict())

    def _draw(self, like: Position, args: Any, kwargs: dict[str, Any], rng_key: Any) -> _Drawn:
        """One draw in the structure of `like`."""
        flat, unravel = ravel_pytree(like)
        sampler = self._sampler_of(like, args, kwargs)
        x, num = sampler.draw(rng_key)
        energy = None
        if self._log_prob is not None:
            log_prob, more = self._log_prob(sampler, x)
            energy, num = -log_prob.astype(flat.dtype), num + more
        return _Drawn(
            z=unravel(x.reshape(-1).astype(flat.dtype)),
            potential_energy=energy,
            diverging=~jnp.all(jnp.isfinite(x)),
            num_grad=jnp.asarray(num, jnp.int32),
        )

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained draw to the model's constrained sites."""
        return self._problem.postprocess_fn(model_args, model_kwargs)

    def get_constrain_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained draw to site values, which does not run the model."""
        return self._problem.constrain_fn(model_args, model_kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # a kernel that was pickled has to be initialized before it samples
        return {**self.__dict__, "_sample_fn": None}

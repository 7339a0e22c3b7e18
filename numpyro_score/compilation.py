"""How much XLA optimizes: less, where the time to compile is worth more than a faster program."""

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

LEVEL = "xla_backend_optimization_level"

ONCE = {LEVEL: 0}
"""Options for a program that runs once: it takes half the time to compile."""

LOOPS = {LEVEL: 2}
"""Options for the loops of samplers on a CPU. XLA's own default is 3, whose programs take up to
1.6 times as long to compile, and .9 to 1.6 times as long to run (`docs/benchmarks.md`)."""


def is_tracing() -> bool:
    """Whether operations are recorded for a program now, in place of being run.

    XLA's options belong to a whole program: a part of one has none.

    Examples
    --------
    >>> is_tracing()
    False
    """
    return isinstance(jnp.zeros(()), jax.core.Tracer)


def load_blackjax() -> None:
    """Import BlackJAX where that may happen within a trace.

    Its modules compute numbers when they are imported. Within a trace these would be traced values
    and stay so, and whatever uses them later would fail.

    Examples
    --------
    >>> load_blackjax()
    """
    with jax.ensure_compile_time_eval():
        import blackjax  # noqa: F401


def at_once(rule: Callable[..., Any], *args: Any) -> Any:
    """What a rule returns, by one program rather than one for each operation.

    A rule of a user's may need values, which a program does not have: it is called as it is.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> at_once(lambda x: 2 * x + 1, jnp.ones(2)).tolist()
    [3.0, 3.0]
    >>> at_once(lambda x: float(x) + 1, jnp.ones(()))
    2.0
    """
    if is_tracing():
        return rule(*args)
    # its signature does not name the options that it hands on to jax.jit
    jit: Callable[..., Any] = eqx.filter_jit
    try:
        return jit(rule, compiler_options=ONCE)(*args)
    except jax.errors.JAXTypeError:
        return rule(*args)


def loop_options() -> dict[str, Any]:
    """Options of the platform for loops; none if the user has chosen a level, or within a trace.

    Examples
    --------
    >>> loop_options()
    {...}
    """
    if LEVEL in os.environ.get("XLA_FLAGS", "") or jax.default_backend() != "cpu" or is_tracing():
        return {}
    # this setting of JAX asks for level 0, among others
    return ONCE if jax.config.read("jax_disable_most_optimizations") else LOOPS


def compiled_loop[**P, R](jit: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a loop that runs for long: `jit` with the options of the platform.

    The platform is known when the function is first called, not when its module is imported.

    Parameters
    ----------
    jit
        `jax.jit` or `equinox.filter_jit`, with whatever options besides.

    Examples
    --------
    >>> compiled_loop(jax.jit)(lambda x: x + 1)(1).item()
    2
    """

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        @cache
        def compiled(options: tuple[tuple[str, Any], ...]) -> Callable[P, R]:
            return jit(fn, compiler_options=dict(options))

        @wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return compiled(tuple(loop_options().items()))(*args, **kwargs)

        return call

    return decorate

"""Every built-in target: density, gradient, model, exact draws and truths belong together."""

import functools
import pickle
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import initialize_model
from scipy import integrate, special, stats

from numpyro_score import targets
from numpyro_score.targets import DensityTarget, Expectation, Target

BUILT_IN: dict[str, Callable[[], Target]] = {
    "std_gaussian": targets.std_gaussian,
    "ill_gaussian": targets.ill_gaussian,
    "ill_gaussian_rotated": targets.ill_gaussian_rotated,
    "gumbel": targets.gumbel,
    "banana": targets.banana,
    "funnel": targets.funnel,
    "two_modes": targets.two_modes,
    "mixture_1d": targets.mixture_1d,
    "ring_of_modes": targets.ring_of_modes,
    "forty_modes": targets.forty_modes,
    "random_modes": targets.random_modes,
    "narrow_modes": targets.narrow_modes,
    "double_wells": targets.double_wells,
    "rosenbrock": targets.rosenbrock,
    "random_walk_with_gap": targets.random_walk_with_gap,
    "stochastic_volatility": targets.stochastic_volatility,
    "item_response": targets.item_response,
    "cox_process": targets.cox_process,
    "eight_schools": targets.eight_schools,
    "eight_schools_centered": targets.eight_schools_centered,
    "breast_cancer": targets.breast_cancer,
}
POSTERIORS = (
    "random_walk_with_gap",
    "stochastic_volatility",
    "item_response",
    "cox_process",
    "eight_schools",
    "eight_schools_centered",
    "breast_cancer",
)
WITH_DRAWS = [name for name in BUILT_IN if name not in POSTERIORS]
NUM_DRAWS = 20_000


@pytest.fixture(params=BUILT_IN)
def target(request: pytest.FixtureRequest) -> Target:
    return BUILT_IN[request.param]()


def flat(draws: dict[str, np.ndarray]) -> np.ndarray:
    """Draws of sites on the whole line as flat positions `(num, dim)`."""
    return np.concatenate([draws[k].reshape(NUM_DRAWS, -1) for k in sorted(draws)], axis=1)


def standard_errors_off(values: np.ndarray, truth: np.ndarray, sd: np.ndarray) -> float:
    """Largest distance of a mean of independent values from its truth, in standard errors."""
    values = np.asarray(values, np.float64)
    return float(np.max(np.abs(values.mean(axis=0) - truth) / (sd / np.sqrt(len(values)))))


def by_parts_off(logdensity_fn: Callable, positions: np.ndarray) -> float:
    """How far `E[x_i d_i log p] = -1` is from holding over draws, in standard errors."""
    gradient = jax.jit(jax.vmap(jax.grad(logdensity_fn)))(positions)
    values = positions * np.asarray(gradient)
    return standard_errors_off(values, np.full(values.shape[1], -1.0), values.std(axis=0))


def test_names_are_unique_and_those_of_the_functions() -> None:
    made = [make() for make in BUILT_IN.values()]
    assert [t.name for t in made] == list(BUILT_IN)
    assert all(t.description for t in made)
    assert len({t.description for t in made}) == len(made)


def test_logdensity_and_gradient_are_finite_in_float32(target: Target) -> None:
    # A plain density keeps float32 where float64 is on; a model's data is float64 there.
    with jax.enable_x64(isinstance(target, DensityTarget)):
        x = np.outer(np.array([0.0, 0.5, -2.0], np.float32), np.ones(target.dim, np.float32))
        value, gradient = jax.jit(jax.vmap(jax.value_and_grad(target.logdensity_fn)))(x)
    assert value.shape == (3,)
    assert value.dtype == gradient.dtype == jnp.float32
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["eight_schools", "two_modes"])
def test_one_target_serves_both_float_types(name: str) -> None:
    target = BUILT_IN[name]()
    logdensity_fn = jax.jit(target.logdensity_fn)
    with jax.enable_x64(False):
        low = logdensity_fn(jnp.ones(target.dim))
    with jax.enable_x64(True):
        high = logdensity_fn(jnp.ones(target.dim, jnp.float64))
    assert (low.dtype, high.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(low, high, rtol=1e-5)


def test_callables_hash_as_jit_requires(target: Target) -> None:
    assert isinstance(hash(target.logdensity_fn), int)
    assert isinstance(hash(target.model), int)


def test_model_s_potential_is_minus_the_log_density(target: Target) -> None:
    copy = pickle.loads(pickle.dumps(target))  # a pickled target is the same target
    with jax.enable_x64(True):
        info = initialize_model(
            jax.random.key(0),
            target.model,
            model_args=target.model_args,
            model_kwargs=target.model_kwargs,
            validate_grad=False,
        )
        x0, unravel = ravel_pytree(info.param_info.z)
        assert x0.shape == (target.dim,)
        points = np.asarray(x0) + np.random.default_rng(1).normal(size=(5, target.dim))
        both = jax.jit(jax.vmap(lambda x: (info.potential_fn(unravel(x)), copy.logdensity_fn(x))))
        potential, logdensity = map(np.asarray, both(points))
        total = potential + logdensity
        np.testing.assert_allclose(total, total[0], atol=1e-8)
        assert np.ptp(potential) > 0.01


@functools.cache
def exact_draws(name: str) -> dict[str, np.ndarray]:
    with jax.enable_x64(True):
        draws = BUILT_IN[name]().sample(jax.random.key(20), NUM_DRAWS)
        return {variable: np.asarray(values) for variable, values in draws.items()}


def test_expectations_take_any_leading_dimensions_of_numpy_and_jax(target: Target) -> None:
    if target.has_exact_draws:
        draws = {name: values[:12] for name, values in exact_draws(target.name).items()}
    else:
        draws = {e.variable: np.ones((12, *e.truth.shape)) for e in target.expectations}
    for e in target.expectations:
        values = draws[e.variable].astype(np.float32)
        values = values.reshape(3, 4, *values.shape[1:])
        from_numpy = e.fn({e.variable: values})
        assert isinstance(from_numpy, np.ndarray)
        assert from_numpy.shape == (3, 4, *e.truth.shape)
        from_jax = e.fn({e.variable: jnp.asarray(values)})
        assert isinstance(from_jax, jax.Array)
        np.testing.assert_allclose(from_jax, from_numpy, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", WITH_DRAWS)
def test_truths_and_sds_agree_with_exact_draws(name: str) -> None:
    target = BUILT_IN[name]()
    assert target.has_exact_draws
    draws = exact_draws(name)
    assert {draw.dtype for draw in draws.values()} == {np.dtype(np.float64)}
    for e in target.expectations:
        values = e.fn(draws)
        assert not e.standard_error.any()
        assert standard_errors_off(values, e.truth, e.sd) < 4.5, e.name
        squares = (values - e.truth) ** 2
        assert standard_errors_off(squares, e.sd**2, squares.std(axis=0)) < 4.5, e.name
        # A truth that is wrong by a tenth of an sd is seen.
        assert standard_errors_off(values, e.truth + 0.1 * e.sd, e.sd) > 9, e.name


# where modes are far from the origin, x_i d_i log p varies too much to tell
FAR = ("ring_of_modes", "forty_modes")


@pytest.mark.parametrize("name", FAR)
def test_exact_draws_of_far_modes_are_draws_of_the_density(name: str) -> None:
    """`E[(d_i log p)^2 + d_i^2 log p] = 0`, by parts too."""
    logdensity_fn = BUILT_IN[name]().logdensity_fn

    def off(factor: float) -> float:
        def identity(x: jax.Array) -> jax.Array:
            gradient = factor * jax.grad(logdensity_fn)(x)
            return gradient**2 + factor * jnp.diagonal(jax.hessian(logdensity_fn)(x))

        with jax.enable_x64(True):
            values = np.asarray(jax.jit(jax.vmap(identity))(flat(exact_draws(name))))
        return standard_errors_off(values, np.zeros(2), values.std(axis=0))

    assert off(1.0) < 4.5
    assert off(2.0) > 9


@pytest.mark.parametrize("name", [name for name in WITH_DRAWS if name not in FAR])
def test_exact_draws_are_draws_of_the_density(name: str) -> None:
    target = BUILT_IN[name]()
    with jax.enable_x64(True):
        positions = flat(exact_draws(name))
        assert by_parts_off(target.logdensity_fn, positions) < 4.5
        # Draws of another temperature are not.
        assert by_parts_off(lambda x: 3 * target.logdensity_fn(x), positions) > 9


def scipy_mixture(x: np.ndarray, weights: np.ndarray, means: np.ndarray, sd: float) -> np.ndarray:
    terms = stats.norm.logpdf(x[:, None], means, sd).sum(axis=2)
    return special.logsumexp(terms, b=weights, axis=1)


def scipy_logpdf(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Normalised log densities from scipy, `(num, dim)` -> `(num,)`."""
    norm = stats.norm.logpdf
    return {
        "std_gaussian": lambda x: norm(x).sum(axis=1),
        "ill_gaussian": lambda x: stats.multivariate_normal.logpdf(
            x, cov=np.diag(np.geomspace(0.01, 100, 50))
        ),
        "gumbel": lambda x: stats.gumbel_r.logpdf(x).sum(axis=1),
        "banana": lambda x: norm(x[:, 0], 0, 10) + norm(x[:, 1], 0.03 * (x[:, 0] ** 2 - 100), 1),
        "funnel": lambda x: (
            norm(x[:, 0], 0, 3) + norm(x[:, 1:], 0, np.exp(x[:, :1] / 2)).sum(axis=1)
        ),
        "rosenbrock": lambda x: (
            norm(x[:, :18], 1) + norm(x[:, 18:], x[:, :18] ** 2, np.sqrt(0.1))
        ).sum(axis=1),
        "two_modes": lambda x: np.logaddexp(
            np.log(0.2) + norm(x, -5).sum(axis=1), np.log(0.8) + norm(x, 5).sum(axis=1)
        ),
        "ring_of_modes": lambda x: scipy_mixture(
            x,
            np.arange(1, 9) / 36,
            10 * np.exp(0.25j * np.pi * np.arange(8))[:, None].view(float),
            0.7,
        ),
        "forty_modes": lambda x: scipy_mixture(
            x, np.full(40, 1 / 40), np.random.default_rng(1).uniform(-40, 40, (40, 2)), 1.0
        ),
        "random_modes": lambda x: scipy_mixture(
            x,
            np.array([0.1, 0.2, 0.3, 0.4]),
            np.random.default_rng(0).uniform(-8, 8, (4, 10)),
            1.0,
        ),
        "narrow_modes": lambda x: np.logaddexp(
            np.log(0.75) + norm(x, -0.5, np.sqrt(0.08)).sum(axis=1),
            np.log(0.25) + norm(x, 1.0, np.sqrt(0.08)).sum(axis=1),
        ),
        "double_wells": lambda x: (
            (-(x[:, :8] ** 4) + 5 * x[:, :8] ** 2 + 0.4 * x[:, :8]).sum(axis=1)
            + norm(x[:, 8:]).sum(axis=1)
        ),
        "mixture_1d": lambda x: np.log(
            3 * np.exp(-((x[:, 0] + 2) ** 2) / 2) + np.exp(-((x[:, 0] - 4) ** 2) / 8)
        ),
    }[name]


@pytest.mark.parametrize("name", [n for n in WITH_DRAWS if n != "ill_gaussian_rotated"])
def test_density_is_scipy_s_up_to_a_constant(name: str) -> None:
    target = BUILT_IN[name]()
    x = np.random.default_rng(1).uniform(-3, 3, size=(20, target.dim))
    with jax.enable_x64(True):
        ours = jax.jit(jax.vmap(target.logdensity_fn))(jnp.asarray(x))
    difference = np.asarray(ours) - scipy_logpdf(name)(x)
    np.testing.assert_allclose(difference, difference[0], atol=1e-9)


@pytest.mark.parametrize(
    "name", ["two_modes", "mixture_1d", "ring_of_modes", "forty_modes", "random_modes"]
)
def test_evidence_of_mixtures_is_that_of_the_normalised_density(name: str) -> None:
    target = BUILT_IN[name]()
    assert isinstance(target, DensityTarget)
    x = target.sample(jax.random.key(0), 1)["x"]
    with jax.enable_x64(True):
        ours = float(target.logdensity_fn(jnp.asarray(x[0], float)))
    assert target.log_evidence is not None
    log_norm = {"mixture_1d": np.log(5 * np.sqrt(2 * np.pi))}.get(name, 0.0)
    normalised = scipy_logpdf(name)(np.asarray(x, np.float64))[0] - log_norm
    np.testing.assert_allclose(ours - normalised, target.log_evidence, atol=1e-9)


def test_evidence_and_shares_of_the_wells() -> None:
    target = targets.double_wells(5)

    def well(x: float) -> float:
        return float(np.exp(-(x**4) + 5 * x**2 + 0.4 * x))

    total, right = (integrate.quad(well, low, 4.0)[0] for low in (-4.0, 0.0))
    assert target.log_evidence is not None
    log_evidence = 2 * np.log(total) + 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(target.log_evidence, log_evidence, rtol=1e-7)
    np.testing.assert_allclose(target.expectations[2].truth, right / total, rtol=1e-6)


def test_rotated_gaussian_has_the_spectrum_it_states_and_no_short_axis() -> None:
    target = targets.ill_gaussian_rotated()
    with jax.enable_x64(True):
        precision = -np.asarray(jax.hessian(target.logdensity_fn)(jnp.zeros(50, jnp.float64)))
    covariance = np.linalg.inv(precision)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), np.geomspace(0.01, 100, 50))
    np.testing.assert_allclose(np.linalg.cond(covariance), 1e4)
    np.testing.assert_allclose(np.diag(covariance), target.expectations[1].truth)
    scale = np.sqrt(np.diag(covariance))
    assert np.linalg.cond(covariance / np.outer(scale, scale)) > 1e3


def test_mode_weight_is_right_where_modes_overlap() -> None:
    x = np.linspace(-40, 60, 200_001)[:, None]
    density = np.exp(scipy_logpdf("mixture_1d")(x))
    density /= density.sum()
    mode_weight: Expectation = targets.mixture_1d().expectations[2]
    values = mode_weight.fn({"x": x})
    np.testing.assert_allclose(values.sum(axis=1), 1)
    np.testing.assert_allclose(density @ values, [0.6, 0.4], rtol=1e-9)
    np.testing.assert_allclose(density @ (values - [0.6, 0.4]) ** 2, mode_weight.sd**2, rtol=1e-8)


def test_log_abs_of_the_funnel_survives_an_exact_zero() -> None:
    log_abs = targets.funnel().expectations[2]
    values = log_abs.fn({"x": np.zeros((1, 9), np.float32)})
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: targets.std_gaussian(0), "dim is 0, but must be a whole number of at least 1"),
        (lambda: targets.ill_gaussian(dim=1), "dim is 1, but must be a whole number of at least 2"),
        (lambda: targets.ill_gaussian(condition=0.5), "condition must be at least 1"),
        (lambda: targets.funnel(dim=1), "dim is 1, but must be a whole number of at least 2"),
        (lambda: targets.random_modes(4), "dim is 4, but must be a whole number of at least 5"),
        (lambda: targets.narrow_modes(0), "dim is 0, but must be a whole number of at least 1"),
        (lambda: targets.double_wells(1), "dim is 1, but must be a whole number of at least 2"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Target], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

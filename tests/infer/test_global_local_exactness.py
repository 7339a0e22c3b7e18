"""Chains with learned jumps that start from exact draws still hold exact draws, also when the score
is wrong; with a wrong density of the proposal, or a stale one, they do not.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.infer import GlobalLocal, learned_jump
from numpyro_score.kernels.gaussian_mixture import gaussian_mixture
from numpyro_score.noise import VE
from numpyro_score.samplers.proposals import (
    LearnedProposal,
    flow_proposal,
    mixture_proposal,
    path_proposal,
)
from numpyro_score.samplers.proposals.defensive import finish
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training.fit import fit
from numpyro_score.training.losses import ContinuousDenoising

ALTERNATE = import_module("numpyro_score.infer.alternate")
NUM_CHAINS = 4096
SIGMAS = 4.0
NOISE = VE(sigma_min=0.02, sigma_max=5.0)
LOSS = ContinuousDenoising(NOISE)

MEANS, SDS, WEIGHT = jnp.array([[-2.0, 1.0], [2.0, -1.0]]), jnp.array([1.0, 0.4]), 0.3


def two_modes(x: Any) -> Any:
    log_terms = -0.5 * jnp.sum((x - MEANS) ** 2, -1) / SDS**2 - 2 * jnp.log(SDS)
    return jax.nn.logsumexp(log_terms + jnp.log(jnp.array([WEIGHT, 1 - WEIGHT])))


def skewed(x: Any) -> Any:
    return -jnp.sum(x + jnp.exp(-x))


def funnel(x: Any) -> Any:
    return -0.5 * x[0] ** 2 - 0.5 * x[1] ** 2 * jnp.exp(-x[0]) - 0.5 * x[0]


class Distribution(NamedTuple):
    """A target, its exact draws, and statistics whose expectations exact draws tell."""

    logdensity_fn: Callable[[Any], Any]
    sample: Callable[[Any, int], Any]
    statistics: Callable[[Any], Any]
    floors: dict[str, float]


def draw_two_modes(rng: Any, num: int) -> Any:
    which = (rng.random(num) > WEIGHT).astype(int)
    return np.asarray(MEANS)[which] + np.asarray(SDS)[which, None] * rng.normal(size=(num, 2))


def draw_funnel(rng: Any, num: int) -> Any:
    v = rng.normal(size=num)
    return np.stack([v, np.exp(v / 2) * rng.normal(size=num)], 1)


# floors of the acceptance of jumps, by score
DISTRIBUTIONS = {
    "two modes": Distribution(
        two_modes,
        draw_two_modes,
        lambda x: np.hstack([x, x**2, x[:, :1] * x[:, 1:], x[:, :1] > 2 * x[:, 1:]]),
        {"trained": 0.7, "scaled": 0.1, "undertrained": 0.1},
    ),
    "skewed": Distribution(
        skewed,
        lambda rng, num: rng.gumbel(size=(num, 2)),
        lambda x: np.hstack([x, x**2, x[:, :1] * x[:, 1:], x < 0]),
        {"trained": 0.7, "scaled": 0.2, "undertrained": 0.3},
    ),
    "funnel": Distribution(
        funnel,
        draw_funnel,
        lambda x: np.hstack([x, x[:, :1] ** 2, x[:, 1:] ** 2 * np.exp(-x[:, :1]), abs(x) > 1]),
        {"trained": 0.6, "scaled": 0.2, "undertrained": 0.3},
    ),
}


class Scaled(eqx.Module):
    """A score times a number: wrong unless that is 1."""

    score: Any
    factor: Any

    def __call__(self, x: Any, t: Any) -> Any:
        return self.factor * self.score(x, t)


MAKERS = {
    "flow": partial(flow_proposal, num_steps=12),
    "path": partial(path_proposal, num_steps=40),
}


def proposal_of(kind: str, model: Any, factor: float, data: Any) -> LearnedProposal:
    center, sd = data.mean(axis=0), data.std(axis=0)
    return MAKERS[kind](
        Scaled(model, jnp.asarray(factor)),
        NOISE,
        2,
        data=(data - center) / sd,
        center=center,
        factor=sd,
    )


class Case(NamedTuple):
    """A distribution, its proposals by kind and by score, and a kernel for each kind."""

    distribution: Distribution
    proposals: dict[tuple[str, str], LearnedProposal]
    kernels: dict[str, GlobalLocal]


def kernel_of(
    distribution: Distribution, proposal: LearnedProposal, global_every: int
) -> GlobalLocal:
    return GlobalLocal.from_score(
        None,
        proposal,
        logdensity_fn=distribution.logdensity_fn,
        global_every=global_every,
        step_size=0.3,
        adapt_step_size=False,
        adapt_mass_matrix=False,
    )


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    def trained(data: Any, num_steps: int) -> Any:
        network = ResidualMLP(2, width=32, depth=2, rng_key=jax.random.key(0))
        standard = ((data - data.mean(axis=0)) / data.std(axis=0)).astype(np.float32)
        return fit(
            ScoreNetwork(network, NOISE, finest=0.1),
            standard,
            LOSS,
            rng_key=jax.random.key(1),
            num_steps=num_steps,
            validation_fraction=0.0,
            progress=False,
        ).model

    def case(distribution: Distribution) -> Case:
        data = distribution.sample(np.random.default_rng(0), 4096)
        good, poor = trained(data, 1500), trained(data, 60)
        scores = {"trained": (good, 1.0), "scaled": (good, 0.7), "undertrained": (poor, 1.0)}
        proposals = {
            (kind, score): proposal_of(kind, model, factor, data)
            for kind in MAKERS
            for score, (model, factor) in scores.items()
        }
        kernels = {kind: kernel_of(distribution, proposals[kind, "trained"], 3) for kind in MAKERS}
        return Case(distribution, proposals, kernels)

    return {name: case(distribution) for name, distribution in DISTRIBUTIONS.items()}


class Run(NamedTuple):
    """Of every chain: start, end, mean acceptance of jumps, mean squared jump."""

    start: Any
    end: Any
    acceptance: float
    jump: Any


def run(
    case: Case,
    kind: str,
    score: str,
    seed: int,
    num_steps: int = 9,
    kernel: Any = None,
    num_chains: int = NUM_CHAINS,
) -> Run:
    """Steps of chains from exact draws; the program is the kernel's, whatever the score."""
    kernel = kernel or case.kernels[kind]
    start = case.distribution.sample(np.random.default_rng(seed), num_chains).astype(np.float32)
    keys = jax.random.split(jax.random.key(seed), num_chains)
    state = kernel.init(keys, 0, jnp.asarray(start), (), {})
    proposal = case.proposals[kind, score]
    chains = state.kernel_state
    log_q = jax.jit(jax.vmap(proposal.log_prob))(keys, jnp.asarray(start))
    chains = chains._replace(statistics=chains.statistics._replace(log_q=log_q))
    state = state._replace(kernel_state=chains, learned=eqx.filter(proposal, eqx.is_array))
    before, rates, jumps = start, [], []
    for _ in range(num_steps):
        state = step(kernel, state)
        if bool(state.is_global[0]):
            rates.append(float(state.global_accept_prob.mean()))
            jumps.append(((np.asarray(state.z) - before) ** 2).mean(axis=0))
        before = np.asarray(state.z)
    return Run(start, before, float(np.mean(rates)), np.mean(jumps, axis=0))


def step(kernel: Any, state: Any) -> Any:
    return compiled(kernel)(state)


PROGRAMS: dict[int, Any] = {}


def compiled(kernel: Any) -> Any:
    if id(kernel) not in PROGRAMS:
        PROGRAMS[id(kernel)] = jax.jit(lambda state: kernel.sample(state, (), {}))
    return PROGRAMS[id(kernel)]


def largest_z(distribution: Distribution, draws: Any) -> float:
    """How many standard errors the worst statistic is off, against a million exact draws."""
    exact = distribution.statistics(
        distribution.sample(np.random.default_rng(99), 1_000_000)
    ).astype(float)
    ours = distribution.statistics(np.asarray(draws, float)).astype(float)
    gap = ours.mean(axis=0) - exact.mean(axis=0)
    error = exact.std(axis=0) * np.sqrt(1 / len(ours) + 1 / len(exact))
    return float(abs(gap / error).max())


# every score and both proposals on two modes each time; of the rest what differs most
ALWAYS = [("two modes", kind, score) for kind in MAKERS for score in ("trained", "scaled")] + [
    ("funnel", "flow", "undertrained"),
]
CASES = [
    pytest.param(*case, marks=[] if case in ALWAYS else [pytest.mark.slow], id="-".join(case))
    for case in product(DISTRIBUTIONS, MAKERS, ("trained", "scaled", "undertrained"))
]


@pytest.mark.parametrize(("name", "kind", "score"), CASES)
def test_exact_draws_stay_exact_and_move(name: str, kind: str, score: str, cases: Any) -> None:
    found = run(cases[name], kind, score, seed=5)
    assert largest_z(DISTRIBUTIONS[name], found.end) < SIGMAS
    assert found.acceptance > DISTRIBUTIONS[name].floors[score]
    assert (found.jump > 0.5 * DISTRIBUTIONS[name].floors[score] * found.start.var(axis=0)).all()


def test_proposals_in_double_precision_move_chains_in_single(x64: None) -> None:
    distribution = DISTRIBUTIONS["two modes"]
    data = distribution.sample(np.random.default_rng(0), 64)
    mixture = gaussian_mixture([0.3, 0.7], np.asarray(MEANS), [np.eye(2), np.eye(2)])
    kernel = kernel_of(distribution, mixture_proposal(mixture, data=data), 3)
    start = jnp.asarray(data[:4], jnp.float32)
    state = kernel.init(jax.random.split(jax.random.key(0), 4), 0, start, (), {})
    after = jax.eval_shape(lambda state: kernel.sample(state, (), {}), state)
    before, after = ([x.dtype for x in jax.tree.leaves(s)] for s in (state, after))
    assert after == before


def test_a_mixture_far_from_the_target_leaves_exact_draws_exact() -> None:
    """Equal weights and broad Gaussians for modes of .3 and .7, one of them narrow."""
    distribution = DISTRIBUTIONS["two modes"]
    mixture = gaussian_mixture([0.5, 0.5], np.asarray(MEANS), [1.2 * np.eye(2), 0.8 * np.eye(2)])
    proposal = mixture_proposal(mixture, data=distribution.sample(np.random.default_rng(0), 4096))
    kernel = kernel_of(distribution, proposal, 3)
    case = Case(distribution, {("mixture", "wrong"): proposal}, {})
    found = run(case, "mixture", "wrong", seed=5, kernel=kernel)
    assert largest_z(distribution, found.end) < SIGMAS
    assert found.acceptance > 0.3


@pytest.fixture
def fresh(cases: Any) -> Callable[[int], GlobalLocal]:
    """A kernel like that of the two modes whose program is compiled anew, with a bug in it."""
    case = cases["two modes"]
    return partial(kernel_of, case.distribution, case.proposals["flow", "trained"])


def test_a_wrong_density_of_the_proposal_is_found(cases: Any, fresh: Any, monkeypatch: Any) -> None:
    def wrong(proposal: Any, keys: Any, drafts: Any, places: Any) -> Any:
        log_new, log_old, lost = finish(proposal, keys, drafts, places)
        return log_new + 0.3 * (drafts.u[:, 0] > 0), log_old + 0.3 * (places[:, 0] > 0), lost

    monkeypatch.setattr(learned_jump, "finish", wrong)
    found = run(cases["two modes"], "flow", "trained", seed=5, kernel=fresh(3))
    assert largest_z(DISTRIBUTIONS["two modes"], found.end) > SIGMAS


def test_a_stale_density_after_local_moves_is_found(
    cases: Any, fresh: Any, monkeypatch: Any
) -> None:
    right = ALTERNATE._jump_step

    def stale(local: Any, jump: Any, keys: Any, state: Any, *rest: Any) -> Any:
        def old(proposal: Any, keys: Any, drafts: Any, places: Any) -> Any:
            log_new, _, lost = finish(proposal, keys, drafts, places)
            return log_new, state.chains.log_q, lost

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learned_jump, "finish", old)
            return right(local, jump, keys, state, *rest)

    monkeypatch.setattr(ALTERNATE, "_jump_step", stale)
    # in the long run too much of the weight is where the density is high
    case = cases["two modes"]
    found = run(case, "flow", "trained", seed=5, num_steps=12, kernel=fresh(6), num_chains=16_384)
    assert largest_z(DISTRIBUTIONS["two modes"], found.end) > SIGMAS

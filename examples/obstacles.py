"""
Three problems of learned scores, and their solution by noise
=============================================================

Learning the score of data and sampling by Langevin dynamics fails in three ways (Song and Ermon
2019, arXiv:1907.05600, section 3). Data on a surface have no score; a score is learned only where
there are data; and Langevin dynamics does not find the weights of separated modes. A network that
learns the scores of the data at many noise levels, used from the largest to the smallest, has none
of these problems.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

import numpyro_score as ns
from numpyro_score.noise import VE, VP, geometric_ladder
from numpyro_score.samplers import annealed_langevin
from numpyro_score.scores import (
    GaussianMixtureScore,
    ResidualMLP,
    ScoreNetwork,
    StaticScore,
    gaussian_score,
    target_score,
)
from numpyro_score.targets import two_modes
from numpyro_score.training import fit
from numpyro_score.training.losses import (
    LadderDenoising,
    SlicedScoreMatching,
    implicit_score_matching,
)

SHORT = "--short" in sys.argv

# %%
# Data on a surface. A Gaussian in the plane has variance 1 along a line and ``v`` across it. As
# ``v`` goes to 0 the score at its draws grows like ``v^(-1/2)``, and at ``v = 0`` it does not
# exist. Noise of variance 1e-4, which is not visible, bounds it by about 100.
SPREADS = np.array([1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8])
NOISE_SD = 1e-2
angle = np.pi / 6
axes_of_line = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
faint = VE(sigma_min=NOISE_SD, sigma_max=1.0)


@jax.jit
def mean_square(score, points):
    """Mean square length of a score at points, and its standard error."""
    squares = (jax.vmap(lambda x: score(x, 0.0))(points) ** 2).sum(1)
    return squares.mean(), squares.std() / len(squares) ** 0.5


lengths = []
for v in SPREADS:
    covariance = axes_of_line @ np.diag([1.0, v]) @ axes_of_line.T
    bare, noised = (gaussian_score(np.zeros(2), covariance, noise) for noise in (VP(), faint))
    points = bare.sample(jax.random.key(0), 20_000)
    with_noise = points + NOISE_SD * jax.random.normal(jax.random.key(1), points.shape)
    lengths.append((*mean_square(bare, points), *mean_square(noised, with_noise)))
lengths = np.array(lengths, np.float64)
expected_lengths = np.stack([1 + 1 / SPREADS, 1 / (1 + 1e-4) + 1 / (SPREADS + 1e-4)], 1)
print("root mean square length of the score at draws")
print("      v   of the data   exactly   with noise of variance 1e-4   exactly")
for v, row, exact in zip(SPREADS, np.sqrt(lengths), np.sqrt(expected_lengths), strict=True):
    print(f"{v:7.0e}   {row[0]:10.2f}  {exact[0]:8.2f}   {row[2]:20.2f}       {exact[1]:8.2f}")

# %%
# It cannot be learned either. For data on the line ``x1 = 0`` and the model ``s = (-x0, -k x1)``,
# the implicit score matching loss decreases without bound as ``k`` grows. With the noise its
# minimum is at ``k = 1e4``.
stiffness = np.array([1e2, 1e3, 1e4, 1e5])
on_line = jax.random.normal(jax.random.key(2), (20_000, 2)) * np.float32([1.0, 0.0])
off_line = on_line + NOISE_SD * jax.random.normal(jax.random.key(3), on_line.shape)


@jax.jit
def stiff_losses(points):
    """Implicit score matching loss of each stiffness."""

    def one(k):
        def model(x):
            return -jnp.stack([x[0], k * x[1]])

        return implicit_score_matching(model, points, jax.random.key(0))

    return jax.vmap(one)(np.float32(stiffness))


loss_on_line, loss_off_line = (np.asarray(stiff_losses(x)) for x in (on_line, off_line))
print("\n      k   loss on the line   with noise")
for k, without, with_it in zip(stiffness, loss_on_line, loss_off_line, strict=True):
    print(f"{k:7.0e}   {without:16.1f}   {with_it:10.1f}")

# %%
# Regions without data. The data have two modes 14 sds apart, with weights .2 and .8. A network that
# is trained by sliced score matching is accurate at the modes, but arbitrary elsewhere, where there
# are almost no draws.
NUM_DATA, NUM_STEPS = (5_000, 800) if SHORT else (20_000, 3_000)
target = two_modes()
data = target.sample(jax.random.key(4), NUM_DATA)["x"]
exact_score = target_score(target, VP())
network = ResidualMLP(2, width=64, depth=3, rng_key=jax.random.key(5))
static = fit(
    StaticScore(network, data),
    data,
    SlicedScoreMatching(),
    rng_key=jax.random.key(6),
    num_steps=NUM_STEPS,
    validation_fraction=0.0,
    progress=False,
).model
line = np.linspace(-8, 8, 65, dtype=np.float32)
plane = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def is_near(points):
    """Whether a point is within 2.5 sds of a mode."""
    centres = np.array([[-5.0, -5.0], [5.0, 5.0]])
    return (np.linalg.norm(points[:, None] - centres, axis=-1) < 2.5).any(1)


def relative_error(found, right, where):
    """Mean squared error relative to the mean square of the true score, at some points."""
    found, right = np.asarray(found, np.float64)[where], np.asarray(right, np.float64)[where]
    return ((found - right) ** 2).sum() / (right**2).sum()


near = is_near(plane)
static_found = jax.vmap(static)(plane)
static_right = jax.vmap(lambda x: exact_score(x, 0.0))(plane)
static_near = relative_error(static_found, static_right, near)
static_far = relative_error(static_found, static_right, ~near)
print(f"\n{is_near(np.asarray(data)).mean():.1%} of the data are within 2.5 sds of a mode")
print(f"relative error of the learned score there {static_near:.3f}, elsewhere {static_far:.3f}")

# %%
# Slow mixing. Langevin dynamics with the *exact* score, from starts spread over the square, ends
# equally often at both modes, since the score near a mode does not depend on its weight. Annealed
# Langevin dynamics uses the scores of noised data, whose modes overlap at large noise, and gets the
# weights nearly right. Its step at a level is half of the level's variance.
NUM_DRAWS = 1_000 if SHORT else 4_000
WEIGHTS = np.array([0.5, 0.8, 0.95])
noise = VE(sigma_min=0.1, sigma_max=20.0)
ladder = geometric_ladder(20.0, 0.1, 20)
STEPS_PER_LEVEL = 50 if SHORT else 100
TOTAL_STEPS = len(ladder) * STEPS_PER_LEVEL


def mixture(weight):
    """The two modes with another weight of the one at (5, 5)."""
    centres = [[-5.0, -5.0], [5.0, 5.0]]
    return GaussianMixtureScore([1 - weight, weight], centres, 1.0, noise)


@partial(jax.jit, static_argnames="num")
def langevin_ends(score, starts, rng_key, num):
    """Final positions of Langevin dynamics with a score."""
    algorithm = ns.ula(score_fn=lambda x: score(x, 0.0), step_size=0.05)

    def one(x, key):
        def step(state, key):
            return algorithm.step(key, state)[0], None

        return jax.lax.scan(step, algorithm.init(x), jax.random.split(key, num))[0].position

    return jax.vmap(one)(starts, jax.random.split(rng_key, len(starts)))


def big_share(points):
    """Share of the points on the side of the mode at (5, 5)."""
    return float((np.asarray(points).sum(1) > 0).mean())


def annealed_draws(score):
    """Draws by annealed Langevin."""
    sampler = annealed_langevin(
        score,
        ladder,
        (2,),
        steps_per_level=STEPS_PER_LEVEL,
        step_size=ladder[-1] ** 2 / 2,
        noise=noise,
    )
    return sampler.sample(jax.random.key(9), NUM_DRAWS)


starts = jax.random.uniform(jax.random.key(7), (NUM_DRAWS, 2), minval=-8.0, maxval=8.0)
plain = {w: langevin_ends(mixture(w), starts, jax.random.key(8), TOTAL_STEPS) for w in WEIGHTS}
langevin_share = np.array([big_share(points) for points in plain.values()])
annealed_share = np.array([big_share(annealed_draws(mixture(w))) for w in WEIGHTS])
print(f"\nweight of the mode at (5, 5) in {NUM_DRAWS} draws, with exact scores (s.e. ", end="")
print(f"{0.5 / NUM_DRAWS**0.5:.3f} or less)")
print(f"truth   Langevin, {TOTAL_STEPS} steps   annealed Langevin, {TOTAL_STEPS} steps")
for row in zip(WEIGHTS, langevin_share, annealed_share, strict=True):
    print("{:5.2f}   {:20.3f}   {:20.3f}".format(*row))

# %%
# The solution, from the data alone: a network whose input includes the noise level, trained by
# denoising over the ladder, has an accurate score on the whole square once the noise is as large as
# the distance between the modes. Annealed Langevin dynamics with it draws both modes with about the
# right weights.
levels = LadderDenoising(ladder)
conditional = fit(
    ScoreNetwork(network, noise, data),
    data,
    levels,
    rng_key=jax.random.key(10),
    num_steps=NUM_STEPS,
    validation_fraction=0.0,
    progress=False,
).model
shown_sigmas = ladder[[0, 6, 11, 19]]
truth_at_levels = mixture(0.8)


@jax.jit
def at_level(score, t):
    """A score on the square at one noise level."""
    return jax.vmap(lambda x: score(x, t))(plane)


level_error = []
for sigma in shown_sigmas:
    t = noise.time_of(sigma)
    level_error.append(
        relative_error(at_level(conditional, t), at_level(truth_at_levels, t), slice(None))
    )
level_error = np.array(level_error)
print("\nrelative error of the noise-conditional score on the whole square")
for sigma, value in zip(shown_sigmas, level_error, strict=True):
    print(f"  sigma = {sigma:6.2f}: {value:.4f}")
drawn = annealed_draws(conditional)
learned_share, data_share = big_share(drawn), big_share(data)
share_error = np.sqrt(0.16 / NUM_DRAWS)
learned_mean = np.stack([drawn[drawn.sum(1) * side > 0].mean(0) for side in (-1, 1)])
learned_sd = np.stack([drawn[drawn.sum(1) * side > 0].std(0) for side in (-1, 1)])
print(f"annealed Langevin with it: weight {learned_share:.3f} (s.e. {share_error:.3f}), ", end="")
print(f"truth .8, of the data {data_share:.3f}; Langevin {langevin_share[1]:.3f}")
print(
    f"its modes are at {learned_mean[0].round(2)} and {learned_mean[1].round(2)}, truth 5; ", end=""
)
print(f"sds {learned_sd.ravel().round(2)}, truth 1")

# %%
# The figure: the norm of the score without and with noise; the error of the score that was learned
# without noise, with some data; final positions of Langevin and annealed Langevin dynamics.
figure, axes = plt.subplots(1, 4, figsize=(16, 4), layout="constrained")
axes[0].loglog(SPREADS, np.sqrt(lengths[:, 0]), "o-", color="#cc3311", label="of the data")
axes[0].loglog(SPREADS, np.sqrt(lengths[:, 2]), "s-", color="#4477aa", label="with noise, .01")
axes[0].set(title="1. Data on a line", xlabel="variance across it", ylabel="length of the score")
axes[0].legend()
gap = np.linalg.norm(np.asarray(static_found - static_right), axis=1).reshape(len(line), -1)
image = axes[1].pcolormesh(line, line, np.log10(gap + 1e-3), cmap="magma", vmin=-1.5, vmax=1)
figure.colorbar(image, ax=axes[1], label="log10 of the error")
axes[1].plot(*np.asarray(data[:300]).T, ".", color="white", markersize=2)
axes[1].set(title="2. A score where there are no data", xlabel="x0", ylabel="x1")
for axis, points, title in (
    (axes[2], plain[0.8], f"3. Langevin: weight {langevin_share[1]:.2f}, truth .8"),
    (axes[3], drawn, f"Noise-conditional, annealed: {learned_share:.2f}"),
):
    axis.plot(*np.asarray(points[:1000]).T, ".", markersize=2, color="#4477aa")
    axis.set(title=title, xlabel="x0", ylabel="x1", xlim=(-9, 9), ylim=(-9, 9))
figure.savefig("obstacles.png", dpi=120)
print("\npicture: obstacles.png")

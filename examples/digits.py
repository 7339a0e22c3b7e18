"""
Six samplers of digits
======================

One convolutional score, trained by denoising (Vincent 2011, doi:10.1162/NECO_a_00142), and six
samplers that use it: DDPM's ancestral steps (Ho, Jain and Abbeel 2020, arXiv:2006.11239), the
reverse SDE, DDIM (Song, Meng and Ermon 2021, arXiv:2010.02502), the probability flow (Song et al.
2021, arXiv:2011.13456), annealed Langevin steps (Song and Ermon 2019, arXiv:1907.05600), and
stochastic localization (Montanari 2023, arXiv:2305.10690). The data are scikit-learn's digits of
8 x 8 pixels; a classifier judges.
"""

import sys

import jax
import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from numpyro_score.localization import (
    DenoiserMean,
    IsotropicGaussian,
    geometric_times,
    localization,
)
from numpyro_score.noise import VE
from numpyro_score.samplers import (
    ancestral,
    annealed_langevin,
    ddim,
    default_ladder,
    dpm_solver,
    probability_flow,
    reverse_sde,
)
from numpyro_score.scores import ConvNet, ScoreNetwork
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import ContinuousDenoising

SHORT = "--short" in sys.argv
WIDTH, NUM_STEPS, BATCH = (8, 40, 64) if SHORT else (16, 700, 128)
NUM = 20 if SHORT else 120
SHAPE = (1, 8, 8)

grey, labels = load_digits(return_X_y=True)
images = np.float32(grey / 8 - 1).reshape(-1, *SHAPE)

# %%
# The score: a small U-Net whose inputs are the image and the noise level. It does not depend on the
# sampler.
noise = VE(sigma_min=0.03, sigma_max=20.0)
network = ConvNet(SHAPE, width=WIDTH, rng_key=jax.random.key(0))
score, history = fit(
    ScoreNetwork(network, noise, images, axis=(0, 2, 3), finest=0.0),
    images,
    ContinuousDenoising(),
    rng_key=jax.random.key(1),
    num_steps=NUM_STEPS,
    batch_size=BATCH,
    optimizer=cosine_adam(2e-3),
    validation_fraction=0.0,
    progress=False,
)
losses = history.train_loss.values
seconds = history.attrs["seconds"]
print(f"{NUM_STEPS} steps in {seconds:.0f} s; loss {losses[0]:.3f} to {losses[-1]:.3f}")

# %%
# Six samplers with the same score. All but annealed Langevin end with the denoised point, which
# removes the remaining noise.
ladder = default_ladder(noise, 2 if SHORT else 64)
samplers = {
    "DDPM": reverse_sde(score, noise, SHAPE, num_steps=100, method=ancestral, denoise=True),
    "reverse SDE": reverse_sde(score, noise, SHAPE, num_steps=60, denoise=True),
    "DDIM": probability_flow(score, noise, SHAPE, num_steps=30, method=ddim, denoise=True),
    "probability flow": probability_flow(
        score, noise, SHAPE, num_steps=30, method=dpm_solver, denoise=True
    ),
    "annealed Langevin": annealed_langevin(
        score,
        ladder,
        SHAPE,
        steps_per_level=5,
        step_size=0.5 * noise.sigma_min**2,
        noise=noise,
        denoise=True,
    ),
}
drawn = {name: sampler.sample(jax.random.key(2), NUM) for name, sampler in samplers.items()}
calls = {name: sampler.evaluations for name, sampler in samplers.items()}
plan = localization(IsotropicGaussian(SHAPE), DenoiserMean(score), geometric_times(2.5e-3, 1e3, 60))
drawn["localization"] = plan.sample(jax.random.key(2), NUM).draws
calls["localization"] = plan.num_steps + 1

# %%
# A classifier is trained on real digits with a little noise. Its confidence measures how much a
# draw looks like a digit, and all ten classes should occur; held-out real digits are the reference.
flat = images.reshape(len(images), -1)
order = np.random.default_rng(0).permutation(len(flat))
seen, unseen = order[:1500], order[1500:]
blurred = flat[seen] + 0.1 * np.random.default_rng(1).normal(size=flat[seen].shape)
judge = MLPClassifier((128,), max_iter=300, random_state=0).fit(blurred, labels[seen])
accuracy = judge.score(flat[unseen], labels[unseen])
judged = {"real": judge.predict_proba(flat[unseen])} | {
    name: judge.predict_proba(x.reshape(NUM, -1)) for name, x in drawn.items()
}
print(f"the judge is right on {accuracy:.3f} of real digits that it never saw")
print(f"{'':18} calls  sure  of each class")
for name, probabilities in judged.items():
    counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
    sure = probabilities.max(axis=1).mean()
    print(f"{name:18} {calls.get(name, 0):5d}  {sure:.3f} {counts}")


# %%
# Memorisation? A network that had memorised its data would draw them. The distance from a draw
# to the nearest training image is compared with that of real digits to theirs.
def nearest(x, others):
    """Root mean square distance of a pixel, to the nearest of the others."""
    squares = ((x[:, None] - others[None]) ** 2).mean(axis=-1)
    return np.sqrt(np.where(squares < 1e-12, np.inf, squares).min(axis=1)).mean()


closest = {"real": nearest(flat[:100], flat)} | {
    name: nearest(np.asarray(x).reshape(NUM, -1)[:100], flat) for name, x in drawn.items()
}
print("\nto the nearest image of the data, a pixel:", end=" ")
print(", ".join(f"{name} {value:.2f}" for name, value in closest.items()))

# %%
# The figure: real digits, and draws of each sampler.
figure, axes = plt.subplots(1, 1 + len(drawn), figsize=(13, 3), layout="constrained")
for axis, (name, x) in zip(axes, {"real": images, **drawn}.items(), strict=True):
    rows, columns = (4, 5) if SHORT else (8, 6)
    grid = np.asarray(x)[: rows * columns].reshape(rows, columns, 8, 8)
    padded = np.pad(grid, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1.0)
    axis.imshow(
        padded.swapaxes(1, 2).reshape(10 * rows, 10 * columns), cmap="gray_r", vmin=-1, vmax=1
    )
    axis.set(title=name, xticks=[], yticks=[])
    axis.title.set_fontsize(9)
figure.savefig("digits.png", dpi=120)
print("picture: digits.png")

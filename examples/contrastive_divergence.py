"""
An energy of handwritten digits
===============================

``p(x) = exp(-E(x)) / Z`` with a network for E and an unknown Z. The gradient of the log likelihood
is the mean of ``-grad E`` over data plus the mean of ``grad E`` over samples of the model. The
samples are the ends of Markov chains that continue from one training step to the next: persistent
contrastive divergence (Hinton 2002, doi:10.1162/089976602760128018; Tieleman 2008,
doi:10.1145/1390156.1390290). The data are scikit-learn's digits of 8 x 8 pixels.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import numpyro_score as ns
from numpyro_score.scores import EnergyNet
from numpyro_score.training import fit
from numpyro_score.training.losses import PersistentContrastiveDivergence

SHORT = "--short" in sys.argv
NUM_STAGES, STAGE = (6, 50) if SHORT else (16, 125)
NUM_SAMPLES, LAST_STEPS = 100, 200 if SHORT else 3000
STEP = {"step_size": 0.01}

images, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
# a little noise, since grey levels are integers, whose density would be a sum of point masses
data = np.float32(images / 8 - 1 + 0.1 * rng.normal(size=images.shape))
train, held_out = data[:1500], data[1500:]


# %%
# Samples are drawn by MALA with the current energy. They start from noise with the means and sds of
# the data and continue from stage to stage, like the chains of the training.
@partial(jax.jit, static_argnames="num_steps")
def langevin(model, x, rng_key, num_steps):
    """`num_steps` steps of one chain from each point."""
    algorithm = ns.mala(model.logdensity, **STEP)

    def chain(x, rng_key):
        def step(i, state):
            return algorithm.step(jax.random.fold_in(rng_key, i), state)[0]

        return jax.lax.fori_loop(0, num_steps, step, algorithm.init(x)).position

    return jax.vmap(chain)(x, jax.random.split(rng_key, len(x)))


@jax.jit
def energies(model, x):
    """Energy of every point."""
    return jax.vmap(model.energy)(x)


# %%
# Training, in stages. For a perfect model and perfect samples, the energies of data and samples
# would have the same distribution. The energies of the samples, which start as noise, decrease to
# slightly above those of the data: two hundred steps per stage do not remove the initial transient
# entirely. Held-out digits are between: the network overfits slightly.
noise = np.float32(train.mean(0) + train.std(0) * rng.normal(size=(NUM_SAMPLES, 64)))
model = EnergyNet(64, width=256, depth=2, rng_key=jax.random.key(1))
loss = PersistentContrastiveDivergence(ns.mala, STEP, 10, restart_rate=0.02, penalty=1e-3)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
samples, course, shown = jnp.asarray(noise), [], {}
print("steps  energy of data (held out)     of samples      of noise")
for stage in range(NUM_STAGES):
    model, _ = fit(
        model,
        train,
        loss,
        rng_key=jax.random.fold_in(jax.random.key(2), stage),
        num_steps=STAGE,
        batch_size=128,
        optimizer=optimizer,
        ema=0.9,
        validation_fraction=0.0,
        progress=False,
    )
    samples = langevin(model, samples, jax.random.fold_in(jax.random.key(3), stage), 200)
    found = [np.asarray(energies(model, x)) for x in (train[:300], held_out, samples, noise)]
    course.append([(values.mean(), values.std()) for values in found])
    shown[(stage + 1) * STAGE] = np.asarray(samples)
    means = [mean for mean, _ in course[-1]]
    print("{:5d} {:12.2f} ({:6.2f}) {:16.2f} {:13.2f}".format((stage + 1) * STAGE, *means))
course = np.array(course)  # (stage, of what, mean and sd)

# %%
# Do the samples look like digits? New chains start from noise. A classifier that was trained on
# real digits, with a high accuracy on held-out ones, predicts their classes with a confidence.
drawn = np.asarray(langevin(model, jnp.asarray(noise), jax.random.key(4), LAST_STEPS))
judge = MLPClassifier((128,), max_iter=300, random_state=0).fit(train, labels[:1500])
accuracy = judge.score(held_out, labels[1500:])
confidence, of_noise = (judge.predict_proba(x).max(axis=1).mean() for x in (drawn, noise))
classes = np.bincount(judge.predict(drawn), minlength=10)
print(f"\nthe judge is right on {accuracy:.3f} of held-out digits")
print(
    f"{NUM_SAMPLES} samples from noise: mean confidence {confidence:.2f}, of each class {classes}"
)

# %%
# The figure: energies during training, and samples at several stages.
figure = plt.figure(figsize=(11, 4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1))
axis = left.subplots()
steps = np.arange(1, NUM_STAGES + 1) * STAGE
for column, name in enumerate(("data", "held-out data", "samples")):
    mean, sd = course[:, column].T
    axis.plot(steps, mean, label=name)
    axis.fill_between(steps, mean - sd, mean + sd, alpha=0.15)
axis.set(title="Energies (mean and sd)", xlabel="steps of training", ylabel="E")
axis.legend()
rows = [*list(shown.values())[:: max(1, len(shown) // 3)][:3], drawn, train]
names = [*map(str, list(shown)[:: max(1, len(shown) // 3)][:3]), "from noise", "data"]
panels = right.subplots(len(rows), 1)
for panel, row, name in zip(panels, rows, names, strict=True):
    strip = np.pad(row[:12].reshape(12, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    panel.imshow(np.concatenate(list(strip), axis=1), cmap="gray_r", vmin=-1, vmax=1)
    panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    panel.set(xticks=[], yticks=[])
right.suptitle("Samples after so many steps")
figure.savefig("contrastive_divergence.png", dpi=120)
print("picture: contrastive_divergence.png")

"""Digits from noise: a small U-Net trained on handwritten ones, two samplers, a judge.

    python examples/digits.py [picture.png]

The data are scikit-learn's 8 x 8 digits. The score is trained for some two minutes on two cores;
a classifier that was trained on real digits labels what the samplers draw.
"""

import sys
import time

import jax
import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from numpyro_score.noise import VE
from numpyro_score.samplers import annealed_langevin, default_ladder, reverse_sde
from numpyro_score.scores import ConvNet, ScoreNetwork
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import ContinuousDenoising

NOISE = VE(sigma_min=0.03, sigma_max=20.0)
SHAPE = (1, 8, 8)


def data():
    """Images `(num, 1, 8, 8)` from -1 to 1, and their labels."""
    images, labels = load_digits(return_X_y=True)
    return np.float32(images / 8 - 1).reshape(-1, *SHAPE), labels


def train(images, num_steps=1000, width=24):
    """A score of the digits, and the seconds that it took, compiling included: wall, processor."""
    network = ConvNet(SHAPE, width=width, rng_key=jax.random.key(0))
    model = ScoreNetwork(network, NOISE, images, axis=(0, 2, 3), finest=0.0)
    began = time.perf_counter(), time.process_time()
    model, _ = fit(
        model,
        images,
        ContinuousDenoising(),
        rng_key=jax.random.key(1),
        num_steps=num_steps,
        batch_size=128,
        optimizer=cosine_adam(2e-3),
        validation_fraction=0.0,
        progress=False,
    )
    ended = time.perf_counter(), time.process_time()
    return model, np.subtract(ended, began)


def samplers(model):
    """Name -> sampler."""
    return {
        "reverse SDE": reverse_sde(model, NOISE, SHAPE, num_steps=60, denoise=True),
        "annealed Langevin": annealed_langevin(
            model,
            default_ladder(NOISE, 64),
            SHAPE,
            steps_per_level=10,
            eps=0.5 * NOISE.sigma_min**2,
            noise=NOISE,
            denoise=True,
        ),
    }


def judge(images, labels):
    """Function from images to a classifier's probabilities `(num, 10)`, and its accuracy."""
    flat = images.reshape(len(images), -1)
    order = np.random.default_rng(0).permutation(len(flat))
    train, test = order[:1500], order[1500:]
    # blurred a little, as what is drawn is: what it says should not hang on single pixels
    noisy = flat[train] + 0.1 * np.random.default_rng(1).normal(size=flat[train].shape)
    classifier = MLPClassifier((128,), max_iter=300, random_state=0).fit(noisy, labels[train])
    accuracy = classifier.score(flat[test], labels[test])
    held_out = classifier.predict_proba(flat[test]).max(axis=1).mean()
    return lambda x: classifier.predict_proba(x.reshape(len(x), -1)), accuracy, held_out


def picture(drawn, path):
    """A grid of real digits and of those of each sampler."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(drawn), figsize=(3 * len(drawn), 3.3))
    for panel, (name, images) in zip(panels, drawn.items(), strict=True):
        rows = images[:100].reshape(10, 10, 8, 8)
        padded = np.pad(rows, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1.0)
        grid = padded.swapaxes(1, 2).reshape(100, 100)
        panel.imshow(grid, cmap="gray_r", vmin=-1, vmax=1)
        panel.set_title(name, fontsize=9)
        panel.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def results(num=500, **settings):
    """Seconds of training, images and probabilities of each sampler, the judge's own figures."""
    images, labels = data()
    model, seconds = train(images, **settings)
    probabilities, accuracy, held_out = judge(images, labels)
    drawn, judged, evaluations = {"real": images}, {}, {}
    for name, sampler in samplers(model).items():
        drawn[name] = sampler.sample(jax.random.key(2), num)
        judged[name] = probabilities(drawn[name])
        evaluations[name] = sampler.evaluations
    return seconds, drawn, judged, evaluations, accuracy, held_out


def main():
    """Train, draw, judge, and save the picture."""
    seconds, drawn, judged, evaluations, accuracy, held_out = results()
    print(f"trained in {seconds[0]:.0f} s, {seconds[1]:.0f} s of the processor")
    print(f"the judge is right on {accuracy:.3f} of real digits that it was not trained on,")
    print(f"with mean confidence {held_out:.3f}")
    for name, probabilities in judged.items():
        counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
        confidence = probabilities.max(axis=1).mean()
        print(f"{name:>18}: {evaluations[name]:4} evaluations a draw, ", end="")
        print(f"mean confidence {confidence:.3f}, of each class {counts}")
    path = sys.argv[1] if len(sys.argv) > 1 else "digits.png"
    picture(drawn, path)
    print(f"The picture is at {path}")


if __name__ == "__main__":
    main()

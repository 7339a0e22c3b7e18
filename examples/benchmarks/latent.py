"""Scores of 16 latent coordinates: digits, and the posterior of a field.

    python examples/benchmarks/latent.py [digits] [field] [--seeds N] [--picture FILE]

1. digits: a classifier's confidence in draws through 16 latent coordinates of an autoencoder and of
   principal components, their reconstruction error, and training times beside that in pixels.
2. field: a 20 x 20 field observed with noise at 40 places. Its prior is learned from 2,000 fields
   through 16 latent coordinates; MALA samples the posterior in the code's coordinates, and the
   posterior of the Gaussian process is the truth.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import numpyro
import numpyro.distributions as dist
from consistency import SHAPE, digits, judged, pixel_score

import numpyro_score as ns
from numpyro_score.latent import fit_autoencoder, fit_latent, principal_components

# -- 1. digits -------------------------------------------------------------------------------------


def print_digits(seeds, num=300):
    images, judge = digits()
    _, pixel_cpu, _ = pixel_score(images)
    print(f"pixel network: {pixel_cpu:.0f} CPU s")
    for name, coder in (
        ("autoencoder", partial(fit_autoencoder, num_steps=1000, progress=False)),
        ("principal components", principal_components),
    ):
        for seed in range(seeds):
            began = time.process_time()
            latent, _ = fit_latent(
                images,
                16,
                coder=coder,
                num_steps=2000,
                rng_key=jax.random.key(seed),
                progress=False,
            )
            cpu = time.process_time() - began
            confidence, classes = judged(judge, latent.sample(jax.random.key(3), num))
            back = latent.decode_many(jax.vmap(latent.encode)(jnp.asarray(images[:num])))
            of_back, _ = judged(judge, back)
            print(
                f"{name}, seed {seed}: {cpu:.0f} CPU s ({cpu / pixel_cpu:.2f} of the pixel "
                f"network's), confidence {confidence:.3f}, {classes} classes; real digits "
                f"{judged(judge, images[:num])[0]:.3f}, through the code {of_back:.3f}; error "
                f"{latent.error.rmse:.3f}, unexplained {latent.error.unexplained:.3f}",
                flush=True,
            )
    assert latent.event_shape == SHAPE


# -- 2. field --------------------------------------------------------------------------------------

SIDE, LENGTH, SD = 20, 0.3, 0.2


def process():
    """Covariance `(400, 400)` of the field, and a square root of it."""
    axis = np.linspace(0, 1, SIDE)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    covariance = np.exp(-squared / (2 * LENGTH**2))
    return covariance, np.linalg.cholesky(covariance + 1e-6 * np.eye(SIDE**2))


def print_field(seeds, picture):
    covariance, root = process()
    rng = np.random.default_rng(0)
    fields = (rng.normal(size=(2000, SIDE**2)) @ root.T).reshape(-1, SIDE, SIDE)
    began = time.process_time()
    latent, _ = fit_latent(
        fields,
        16,
        coder=principal_components,
        width=64,
        num_flow_steps=12,
        rng_key=jax.random.key(0),
        progress=False,
    )
    print(f"training: {time.process_time() - began:.0f} CPU s; {latent.error}")
    # the reconstruction error is noise of the observations
    noise_sd = float(np.hypot(SD, latent.error.rmse))

    def model(y, where):
        z = numpyro.sample("z", latent.prior)
        x = numpyro.deterministic("x", latent.decode(z))
        numpyro.sample("y", dist.Normal(x.reshape(-1)[where], noise_sd).to_event(1), obs=y)

    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        truth = root @ rng.normal(size=SIDE**2)
        where = rng.choice(SIDE**2, 40, replace=False)
        y = truth[where] + SD * rng.normal(size=40)
        began = time.process_time()
        tree = ns.sample(
            ns.MALA(model),
            jax.random.key(seed),
            num_warmup=400,
            num_samples=8000,
            until=400,  # 100 for each chain, with R-hat at most 1.01
            num_chains=4,
            model_args=(y, where),
            progress=False,
        )
        cpu = time.process_time() - began
        rhat = float(az.rhat(tree, var_names=["z"])["z"].max())
        x = tree.posterior["x"].values.reshape(-1, SIDE**2)
        gain = np.linalg.solve(
            covariance[np.ix_(where, where)] + SD**2 * np.eye(40), covariance[where]
        )
        mean, sd = y @ gain, np.sqrt(np.diag(covariance - covariance[:, where] @ gain))
        gap = x.mean(axis=0) - mean
        allowed = np.hypot(sd, latent.error.rmse)
        print(
            f"seed {seed}: {tree.posterior.sizes['draw']} draws, R-hat {rhat:.4f}, "
            f"{cpu:.0f} CPU s; mean against the Gaussian process: "
            f"rms {np.sqrt((gap**2).mean()):.3f}, largest {abs(gap).max():.3f}; in units of sd and "
            f"reconstruction error: rms {np.sqrt(((gap / allowed) ** 2).mean()):.2f}, largest "
            f"{abs(gap / allowed).max():.2f}; sd {x.std(axis=0).mean():.3f}, true {sd.mean():.3f}; "
            f"coverage of the truth by 90% "
            f"{np.mean((np.quantile(x, 0.05, 0) < truth) & (truth < np.quantile(x, 0.95, 0))):.2f}",
            flush=True,
        )
        if picture is not None and seed == 0:
            draw_field(truth, where, mean, x, picture)


def draw_field(truth, where, mean, x, picture):
    """The field with its observations, the exact posterior mean, and that in latent coordinates."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(8.5, 2.9), layout="constrained")
    gap = np.sqrt(((x.mean(axis=0) - mean) ** 2).mean())
    shown = {
        "field, and where it is observed": truth,
        "posterior mean, Gaussian process": mean,
        f"16 latent coordinates (rms {gap:.2f} away)": x.mean(axis=0),
    }
    for axis, (name, values) in zip(axes, shown.items(), strict=True):
        image = axis.imshow(values.reshape(SIDE, SIDE), vmin=-2.5, vmax=2.5, cmap="RdBu_r")
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=9)
    axes[0].plot(where % SIDE, where // SIDE, "k.", markersize=4)
    figure.colorbar(image, ax=axes, shrink=0.8)
    figure.savefig(picture, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["digits", "field"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if "digits" in options.parts:
        print_digits(options.seeds)
    if "field" in options.parts:
        print_field(options.seeds, options.picture)

"""sbi's NPSE or FMPE with its defaults, on pairs in a file; runs in a Python that has sbi.

    python simulation_based_sbi.py npse|fmpe SEED PAIRS.npz OUT.npz

`PAIRS.npz` holds `theta`, `x`, `observations`, `num`, and the prior as `low` and `high` or as
`covariance`. Writes draws given each observation, and seconds from the end of the imports.
"""

import sys
import time

import numpy as np
import torch
from sbi import inference
from sbi.utils import BoxUniform
from torch.distributions import MultivariateNormal


def main():
    method, seed, source, out = sys.argv[1:]
    pairs = np.load(source)
    torch.manual_seed(int(seed))
    began, cpu = time.perf_counter(), time.process_time()

    def tensor(name):
        return torch.as_tensor(pairs[name], dtype=torch.float32)

    if "low" in pairs:
        prior = BoxUniform(tensor("low"), tensor("high"))
    else:
        covariance = tensor("covariance")
        prior = MultivariateNormal(torch.zeros(len(covariance)), covariance)
    trainer = getattr(inference, method.upper())(prior, show_progress_bars=False)
    trainer.append_simulations(tensor("theta"), tensor("x")).train()
    posterior = trainer.build_posterior()
    trained = time.perf_counter() - began, time.process_time() - cpu
    draws, times = [], []
    for x in tensor("observations"):
        start, start_cpu = time.perf_counter(), time.process_time()
        found = posterior.sample((int(pairs["num"]),), x=x, show_progress_bars=False)
        draws.append(found.numpy())
        times.append((time.perf_counter() - start, time.process_time() - start_cpu))
    seconds = np.array(trained) + times[0]
    np.savez(out, draws=np.stack(draws), seconds=seconds)


if __name__ == "__main__":
    main()

import jax
import pytest
from numpyro.infer import NUTS

from numpyro_score.comparison import Comparison, compare
from numpyro_score.infer import MALA, ULA
from numpyro_score.targets import std_gaussian, two_modes


def refuse(model: object) -> MALA:
    raise RuntimeError("no kernel for this model")


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    """Four kernels, one of which fails, on a target they converge on and one they do not."""
    return compare(
        {"mala": MALA, "ula": ULA, "nuts": NUTS, "refuse": refuse},
        [std_gaussian(2), two_modes()],
        jax.random.key(1),
        num_warmup=200,
        num_samples=400,
        num_chains=8,
        progress=False,
    )

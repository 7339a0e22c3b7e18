"""Item response: persons of unknown ability answer items of unknown difficulty.

The answers were made once from the model and are part of the definition.
"""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Int

from numpyro_score.targets.base import ModelTarget
from numpyro_score.targets.expectation import reference_expectations

NUM_ITEMS = 40
_ROWS = """
    9031514892 58f8ea40b6 9071000210 f8f9d94a96 dd7f6b4bff 6805c10976 89b1404996 7815d343b6
    c828404a11 4821404b35 7badc94995 3839c34833 20bd414036 55084168b0 c981444814 5819c11954
    09a1c34092 eadd614095 58c551409e 8891802a11 0133424a16 9c69494995 d0b9c04a90 e0e3e048d0
    58ffd149d6 7bfff97efe a020000214 fcf9eb7c11 8005000130 f921584195 1000c148d0 5bff6975b7
    aa8ff15ff6 f9ffd16ef6 48ad424a92 d83b444c91 0835c10d98 d818c34972 da39c94b94 39bdd968f4
    68324205b4 6025c800b0 4087c00400 7979eb5ef5 d9f1dd40b2 e935416cb7 79fff97b36 5805c00290
    fbf7ff7ffd 7fffff79fe 79e5f979fc 69f1615ff6 4004c108d2 e877d74bf2 f805494815 68e54162b4
    583dc247b6 d86ffe44f4 f9dfeb7db5 68c1406933 5815412832 4021c00033 40254140b4 4038c10a12
    2031c84090 f997e17bb4 5831c34d70 f9dd614dbb 9000400011 4ab14042f6 0804c04810 0020494911
    fefff77fdf 480d800a30 4a776973b4 4cad5b75b7 4827e16856 42314300b0 5929ff7ef6 2837516eb4
    fa97cb4fd7 48657042f7 68af4268d6 e8bdc14d90 7a57414a94 4001404181 4887c14010 58a9424032
    4800c10812 68f9e14bbf 5e6be144fc 4014420000 0010000240 5031510a40 588dc94e97 7dffdb7db2
    78cdc14910 499d434076 4029c00830 8001400e93
"""

ANSWERS: Int[np.ndarray, "100 40"] = np.array(
    [[int(bit) for bit in f"{int(row, 16):0{NUM_ITEMS}b}"] for row in _ROWS.split()]
)
"""Whether a person (row) answered an item (column) rightly; a row is a hexadecimal number."""

Answers = Int[jax.Array, "person item"] | Int[np.ndarray, "person item"]


def item_response_model(y: Answers) -> None:
    """The two-parameter logistic model (Birnbaum 1968), non-centered.

    `y_ij ~ Bernoulli(sigmoid(a_j (ability_i - difficulty_j)))` with `ability_i ~ N(0, 1)`,
    `log a_j ~ N(0, .5)`, `difficulty_j = location + scale z_j`, `location ~ N(0, 1)`,
    `scale ~ HalfNormal(1.5)`, `z_j ~ N(0, 1)` (sds).

    Parameters
    ----------
    y
        answers `(person, item)`, 0 or 1.

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> draw = Predictive(item_response_model, num_samples=3)
    >>> draw(jax.random.key(0), ANSWERS)["difficulty"].shape
    (3, 40)
    """
    num_persons, num_items = y.shape
    location = numpyro.sample("location", dist.Normal(0.0, 1.0))
    scale = numpyro.sample("scale", dist.HalfNormal(1.5))
    ability = numpyro.sample("ability", dist.Normal(0.0, 1.0).expand([num_persons]).to_event(1))
    slope = numpyro.sample("slope", dist.LogNormal(0.0, 0.5).expand([num_items]).to_event(1))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([num_items]).to_event(1))
    difficulty = numpyro.deterministic("difficulty", location + scale * z)
    logits = slope * (ability[:, None] - difficulty)
    numpyro.sample("y", dist.Bernoulli(logits=logits).to_event(2), obs=y)


def item_response() -> ModelTarget:
    """Two-parameter logistic model of 100 persons and 40 items; 182 dimensions.

    Slopes multiply differences of abilities and difficulties. Reference values are from long
    chains.

    Examples
    --------
    >>> target = item_response()
    >>> target.dim, target.has_exact_draws
    (182, False)
    """
    return ModelTarget(
        name="item_response",
        description=(
            "y_ij ~ Bernoulli(sigmoid(a_j (ability_i - difficulty_j))), 100 persons, 40 items; "
            "difficulties with a common location and scale"
        ),
        model=item_response_model,
        model_args=(ANSWERS,),
        expectations=reference_expectations("item_response"),
    )

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import OU, VE, VP, CosineVP, SubVP
from numpyro_score.scores import (
    ConvNet,
    EnergyNet,
    EnergyScore,
    GaussianMixtureScore,
    Mixture,
    PredictNoise,
    ResidualMLP,
    ScoreNetwork,
    StaticScore,
    TwoLayer,
)
from numpyro_score.training.io import HEADER, VERSION, about_model, load, save

KEY = jax.random.key(0)
DATA = np.random.default_rng(0).normal(3.0, 2.0, (50, 2))
NETWORK = ResidualMLP(2, width=8, rng_key=KEY)
IMAGES = np.random.default_rng(0).normal(size=(20, 1, 8, 8))

MODELS: dict[str, Any] = {
    "residual": ScoreNetwork(NETWORK, VE(0.1, 20.0), DATA),
    "two layers": ScoreNetwork(TwoLayer(2, 8, rng_key=KEY), VP(), DATA, prediction=PredictNoise()),
    "cosine": ScoreNetwork(NETWORK, CosineVP(), DATA),
    "sub-VP": ScoreNetwork(NETWORK, SubVP(), DATA),
    "energy at every level": EnergyScore(NETWORK, OU(), DATA),
    "static": StaticScore(NETWORK, DATA),
    "energy": EnergyNet(2, width=8, data=DATA, rng_key=KEY),
}


def structure(tree: Any) -> Any:
    return jax.tree.structure(tree)


def outputs(model: Any) -> Any:
    x = jnp.array([1.0, -2.0])
    return model(x) if isinstance(model, StaticScore | EnergyNet) else model(x, 0.3)


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name: str, tmp_path: Path, same: Any) -> None:
    model = MODELS[name]
    # weights that are not those of the start
    model = jax.tree.map(lambda x: x + 0.1 if eqx.is_inexact_array(x) else x, model)
    again = load(save(model, tmp_path / "model.eqx"))
    assert eqx.tree_equal(again, model)
    same(outputs(again), outputs(model))
    # one compiled program for both
    assert structure(again) == structure(model)


@pytest.mark.slow
def test_networks_for_images_and_mixtures(tmp_path: Path, same: Any) -> None:
    conv = ScoreNetwork(ConvNet((1, 8, 8), rng_key=KEY), VE(0.1, 20.0), IMAGES, axis=(0, 2, 3))
    analytic = GaussianMixtureScore([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 2.0, VE(0.1, 20.0))
    parts = [MODELS["residual"], MODELS["residual"]]
    mixture = Mixture(parts, [0.3, 0.7], [analytic.log_prob, analytic.log_prob])
    for model, x in (
        (conv, jnp.ones((1, 8, 8))),
        (mixture, jnp.ones(2)),
        (analytic, jnp.ones(2)),
    ):
        again = load(save(model, tmp_path / "model.eqx"))
        assert eqx.tree_equal(again, model)
        same(again(x, 0.4), model(x, 0.4))


def bend(x: Any) -> Any:
    return x + jnp.sin(x)


class Inner(NamedTuple):
    scale: Any
    name: str


class Own(eqx.Module):
    """All that a field may hold."""

    array: Any
    half: Any
    numpy: Any
    key: Any
    inner: Inner
    act: Any
    nn: Any
    bound: Any
    things: dict[str, Any]
    number: float = eqx.field(static=True, default=float("inf"))

    def __call__(self, x: Any) -> Any:
        return self.nn(self.act(x * self.inner.scale))


def own(act: Any = bend) -> Own:
    return Own(
        jnp.arange(3),
        jnp.ones(2, jnp.bfloat16),
        np.linspace(0.0, 1.0, 3),
        jax.random.key(3),
        Inner(jnp.asarray(2.0), "inner"),
        act,
        eqx.nn.MLP(2, 2, 4, 1, jax.nn.silu, key=KEY),
        jax.tree_util.Partial(jnp.tanh, jnp.ones(1)),
        {"a": [1, None, True], "b": (1.5, "text")},
    )


def test_a_class_of_ones_own(tmp_path: Path, same: Any) -> None:
    model = own()
    path = save(model, tmp_path / "own")
    again = load(path, known=[Own, Inner, bend])
    assert structure(again) == structure(model)
    same(jax.tree.leaves(again, is_leaf=eqx.is_array), jax.tree.leaves(model, is_leaf=eqx.is_array))
    assert again.half.dtype == jnp.bfloat16
    assert isinstance(again.numpy, np.ndarray)
    assert again.number == float("inf")
    same(again(jnp.ones(2)), model(jnp.ones(2)))
    for known in ([], [Own], [Own, bend]):
        with pytest.raises(ValueError, match=r"not known here.*known=\[\.\.\.\]"):
            load(path, known=known)


@pytest.mark.parametrize("act", [lambda x: x, np.random.default_rng(0)])
def test_what_could_not_be_found_again(act: Any, tmp_path: Path, unchecked: None) -> None:
    with pytest.raises(TypeError, match=r"no name to be found by|cannot be written"):
        save(own(act), tmp_path / "own")
    with pytest.raises(TypeError, match="files hold Equinox modules"):
        save(lambda x: x, tmp_path / "own")
    assert not list(tmp_path.iterdir())


def test_what_is_kept_with_a_model(tmp_path: Path) -> None:
    about = {"variables": ["mu", "theta (3,)"], "steps": 100}
    path = save(MODELS["energy"], tmp_path / "model.eqx", about=about)
    assert about_model(path) == about
    assert about_model(save(MODELS["energy"], path)) == {}
    with pytest.raises(TypeError, match="JSON"):
        save(MODELS["energy"], path, about={"x": np.ones(3)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(MODELS["energy"], tmp_path / "model.eqx")


def edit(path: Path, change: Any, arrays: dict[str, bytes] | None = None) -> None:
    """Write the archive again with another header, or other arrays."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(content[HEADER])
    change(header)
    content |= {HEADER: json.dumps(header).encode()} | (arrays or {})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h: h.update(version=VERSION + 1), "newer than this installation"),
        (lambda h: h.update(format="other"), "foreign file"),
        (lambda h: h.update(checksum="0"), "tampered with: its checksum"),
        (lambda h: h["architecture"].update({"class": "os:system"}), "tampered with: its checksum"),
        (lambda h: h.update(num_arrays=99), "tampered with"),
        (lambda h: h.pop("num_arrays"), "tampered with"),
    ],
)
def test_a_changed_header(path: Path, change: Any, match: str, unchecked: None) -> None:
    edit(path, change)
    with pytest.raises(ValueError, match=match):
        load(path)


def test_a_changed_array(path: Path, unchecked: None) -> None:
    with zipfile.ZipFile(path) as archive:
        array = bytearray(archive.read("arrays/0.npy"))
    array[-1] ^= 1
    edit(path, lambda header: None, {"arrays/0.npy": bytes(array)})
    with pytest.raises(ValueError, match="tampered with: its checksum"):
        load(path)


def test_a_forged_checksum_still_runs_nothing(path: Path, unchecked: None) -> None:
    """Names outside of what is known are not even looked up."""
    from numpyro_score.training import io

    for name in ("os:system", "builtins:eval", "numpyro_score.scores.base:jax", "jax.numpy:save"):
        with zipfile.ZipFile(path) as archive:
            arrays = [archive.read(f"arrays/{i}.npy") for i in range(len(archive.namelist()) - 1)]

        def forge(header: Any, name: str = name, arrays: Any = arrays) -> None:
            header["architecture"]["class"] = name
            header["checksum"] = io._checksum(header, arrays)

        edit(path, forge)
        with pytest.raises(ValueError, match=f"names {name}, which is not known"):
            load(path)


def test_a_truncated_file(path: Path, unchecked: None) -> None:
    whole = path.read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated or damaged"):
            load(path)


def test_a_flipped_byte(path: Path, unchecked: None) -> None:
    """Anywhere among the arrays: the archive's own sums notice, or ours."""
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(whole))
    with pytest.raises(ValueError, match=r"damaged|tampered"):
        load(path)


def test_foreign_files(tmp_path: Path, unchecked: None) -> None:
    text, arrays, empty = (tmp_path / name for name in ("a.txt", "a.npz", "empty"))
    text.write_text("no model")
    np.savez(arrays, x=np.ones(3))
    empty.write_bytes(b"")
    for file in (text, arrays, empty):
        with pytest.raises(ValueError, match="foreign file"):
            load(file)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("added", "match"),
    [
        (["renamed"], r"fields \['renamed'\] that this version"),
        ([], r"lacks the fields \['shape'\], which this version of the class has; learn it again"),
    ],
)
def test_a_class_that_has_changed(
    added: list[str], match: str, path: Path, unchecked: None
) -> None:
    from numpyro_score.training import io

    with zipfile.ZipFile(path) as archive:
        arrays = [archive.read(f"arrays/{i}.npy") for i in range(len(archive.namelist()) - 1)]

    def rename(header: Any) -> None:
        fields = header["architecture"]["fields"]
        shape = fields.pop("shape")
        fields.update(dict.fromkeys(added, shape))
        header["checksum"] = io._checksum(header, arrays)

    edit(path, rename)
    with pytest.raises(ValueError, match=match):
        load(path)


def test_what_is_there_is_replaced_at_once(path: Path, monkeypatch: Any) -> None:
    """A failure half way leaves the old file."""
    before = path.read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="no space"):
        save(MODELS["static"], path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]

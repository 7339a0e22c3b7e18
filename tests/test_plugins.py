from importlib.metadata import EntryPoint

import pytest

from numpyro_score import plugins
from numpyro_score.plugins import KERNELS, TARGETS, load, load_model, registered


@pytest.fixture
def entries(monkeypatch):
    def install(**values):
        found = [EntryPoint(name, value, KERNELS) for name, value in values.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: found)

    return install


def test_the_package_s_own_are_registered():
    assert {"mala", "rwm", "ula", "nuts"} <= set(registered(KERNELS))
    assert {"eight_schools", "two_modes"} <= set(registered(TARGETS))


@pytest.mark.parametrize("group", [KERNELS, TARGETS])
def test_all_that_is_registered_can_be_loaded(group):
    for name in registered(group):
        assert callable(load(group, name))


def test_another_package_s_kernel_is_found(entries):
    entries(theirs="numpyro.infer:HMC")
    assert load(KERNELS, "theirs").__name__ == "HMC"


def test_unknown_names_list_the_known_ones(entries):
    entries(mala="numpyro_score.infer:MALA", nuts="numpyro.infer:NUTS")
    with pytest.raises(ValueError, match=r"'nut' \(did you mean 'nuts'\?\); known kernels: mala"):
        load(KERNELS, "nut")


@pytest.mark.parametrize("value", ["no_such_package:kernel", "numpyro.infer:NoSuchKernel"])
def test_a_broken_registration_is_told(entries, value):
    entries(broken=value)
    with pytest.raises(ImportError, match=r"'broken' is registered as .* cannot be imported"):
        load(KERNELS, "broken")


def test_a_model_is_loaded_with_what_lies_beside_it(tmp_path):
    (tmp_path / "parts_of_it.py").write_text("SCALE = 3.0\n")
    (tmp_path / "mine.py").write_text("from parts_of_it import SCALE\ndef model(): return SCALE\n")
    assert load_model(f"{tmp_path}/mine.py:model")() == 3.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("model", r"FILE\.py:MODEL, got 'model'"),
        ("mine.py:", r"FILE\.py:MODEL"),
        ("mine.py:nothing", r"'nothing' is not there in .*its functions are model, other"),
        ("mine.py:DATA", "'DATA' is not a function"),
        ("wrong.py:model", r"importing .*wrong\.py failed: NameError"),
        ("no.such.module:model", r"importing .*failed: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_with_a_model_is_told(tmp_path, monkeypatch, spec, message):
    (tmp_path / "mine.py").write_text("DATA = 1\ndef model(): ...\ndef other(): ...\n")
    (tmp_path / "wrong.py").write_text("undefined\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_model(spec)


def test_a_missing_file_is_told():
    with pytest.raises(FileNotFoundError, match=r"no file nowhere\.py"):
        load_model("nowhere.py:model")

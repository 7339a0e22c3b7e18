import signal
import subprocess
import sys
from importlib.metadata import version

import arviz as az
import jax
import numpy as np
import pytest
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.cli import common, main, running
from numpyro_score.comparison import load_comparison
from numpyro_score.diagnostics.files import read_draws, write_draws
from numpyro_score.progress import Bar
from numpyro_score.run import Seconds
from numpyro_score.run.within import BudgetExceededError

MODEL = """
import jax.numpy as jnp, numpyro, numpyro.distributions as dist

def model(x, y=None, scale=1.0):
    b = numpyro.sample("b", dist.Normal(0.0, 2.0))
    numpyro.sample("y", dist.Normal(b * x, scale), obs=y)

def other():
    numpyro.sample("z", dist.Normal(0.0, 1.0))

def unseen(x, y, scale):
    numpyro.sample("z", dist.Normal(0.0, 1.0))

def infinite():
    numpyro.sample("z", dist.Normal(0.0, 1.0))
    numpyro.factor("wall", -jnp.inf)

def confused():
    numpyro.sample("z", dist.Normal(0.0, 1.0)) + "one"

def uneven():
    numpyro.sample("z", dist.Normal(0.0, 1.0))
    jnp.ones(3) + jnp.ones(4)

def small_steps(model):
    from numpyro_score import MALA
    return MALA(model, step_size=0.1, adapt_step_size=False)

PLAIN = 1
"""
SHORT = ["--chains", "2", "--warmup", "20", "--samples", "30", "--no-progress"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, its data, and files that will not do."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    (tmp_path / "mymodel.py").write_text(MODEL)
    np.savez(tmp_path / "data.npz", x=x, y=2 * x, scale=0.5)
    np.savez(tmp_path / "wrong.npz", x=x, z=x)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.save(tmp_path / "bare.npy", x)
    (tmp_path / "table.csv").write_text("x,y\n1,2\n")
    draws = {"b": rng.normal(size=(2, 100))}
    write_draws(az.from_dict({"posterior": draws}), tmp_path / "theirs.nc")
    write_draws(az.from_dict({"prior": draws}), tmp_path / "prior.nc")
    (tmp_path / "folder").mkdir()
    return tmp_path


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == version("numpyro-score")


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "numpyro_score", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: numpyro-score")


def test_list_names_kernels_and_targets(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    kernels, targets = out.split("targets:")
    assert "mala_dense" in kernels
    assert "biased" in kernels
    assert "eight_schools_centered" in targets
    assert all(len(line) < 130 for line in out.splitlines())


def test_run_then_diagnose(place, capsys):
    args = ["run", "mymodel.py:model", "--data", "data.npz", "--kernel", "mala", *SHORT]
    assert main([*args, "--out", "draws.nc"]) == 0
    said = capsys.readouterr()
    assert f"The draws are at {place}/draws.nc" in said.out
    assert "numpyro-score diagnose draws.nc" in said.out
    assert "R-hat" in said.err
    dt = read_draws("draws.nc")
    assert dict(dt.posterior.sizes) == {"chain": 2, "draw": 30}
    assert dt.warmup_posterior.sizes["draw"] == 20
    assert dt.attrs["sampler"] == "MALA"
    # the data reached the model: the slope is 2, and scale is a number
    assert abs(float(dt.posterior.b.mean()) - 2) < 0.5
    assert main(["diagnose", "draws.nc", "--out", "page.html", "--no-progress"]) == 0
    assert f"The report is at {place}/page.html" in capsys.readouterr().out
    assert "draws.nc" in (place / "page.html").read_text("utf-8")


def test_programs_are_kept_where_asked(place, monkeypatch):
    asked: dict[str, object] = {}
    monkeypatch.setattr(jax.config, "update", asked.__setitem__)

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt  # nothing is run

    monkeypatch.setattr(running, "sample", interrupted)
    args = ["run", "mymodel.py:other", "--kernel", "rwm", "--cache", "programs"]
    assert main(args) == running.INTERRUPTED
    assert asked["jax_compilation_cache_dir"] == str(place / "programs")
    assert asked["jax_persistent_cache_min_compile_time_secs"] == 0.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # of the recommended kernel all is left to `sample`
        ([], (None, None, None, None)),
        (["--chains", "8", "--until", "50"], (8, None, None, 50)),
        (["--kernel", "rwm"], (16, 500, 1000, None)),
        (["--kernel", "rwm", "--budget", "5s"], (16, 500, None, Seconds(5.0))),
        (["--kernel", "rwm", "--until", "9", "--samples", "7"], (16, 500, 7, 9)),
    ],
)
def test_what_ends_a_run(place, monkeypatch, given, expected):
    asked: dict[str, object] = {}

    def too_dear(first: object, key: object, **options: object) -> None:
        asked.update(options, kernel=first)
        raise BudgetExceededError("give a larger budget")

    monkeypatch.setattr(running, "sample", too_dear)
    assert main(["run", "mymodel.py:other", *given]) == 2
    assert tuple(asked[f"num_{n}"] for n in ("chains", "warmup", "samples")) == expected[:3]
    assert asked["until"] == expected[3]
    assert isinstance(asked["kernel"], MCMCKernel) == ("--kernel" in given)


def test_zarr_both_ways(place, capsys):
    args = ["run", "mymodel.py:other", "--kernel", "rwm", *SHORT, "--out", "draws.zarr"]
    assert main(args) == 0
    assert main(["diagnose", "draws.zarr", "--no-progress"]) == 0
    assert (place / "report.html").is_file()


def test_the_seed_decides(place):
    found = []
    for seed in ("1", "2"):
        args = ["run", "mymodel.py:other", "--kernel", "rwm", *SHORT, "--seed", seed]
        assert main(args) == 0
        found.append(read_draws("draws.nc").posterior.z.values)
    assert (found[0] != found[1]).any()


def test_compare_writes_a_page_and_says_where(place, capsys):
    args = ["compare", "--target", "std_gaussian", "--kernel", "mala", "--kernel", "independence"]
    assert main([*args, *SHORT, "--out", "page.html"]) == 0
    said = capsys.readouterr()
    assert f"The report is at {place}/page.html" in said.out
    # the improper prior of a plain density cannot be proposed from: said, and no reason to stop
    assert "independence on std_gaussian: " in said.err
    assert "std_gaussian" in (place / "page.html").read_text("utf-8")
    # unless nothing else ran
    assert main([*args[:3], *args[5:], *SHORT, "--out", "page.html"]) == 1


@pytest.mark.slow
def test_compare_keeps_what_it_ran(place, capsys):
    (place / "mytarget.py").write_text(
        "from numpyro_score.targets import std_gaussian\ndef mine():\n    return std_gaussian(2)\n"
    )
    args = ["compare", "--target", "mytarget.py:mine", "--kernel", "mala", "--store", "kept.zarr"]
    assert main([*args, *SHORT, "--seeds", "2"]) == 0
    assert load_comparison("kept.zarr").table.num_seeds.tolist() == [2]
    assert main([*args, *SHORT, "--seeds", "2"]) == 2
    assert "kept.zarr exists" in capsys.readouterr().err
    assert main([*args, *SHORT, "--seeds", "2", "--resume", "--jobs", "2"]) == 0
    assert "2 seeds" in (place / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_diagnose_against_a_target_or_a_reference(place, capsys):
    rng = np.random.default_rng(0)
    for name, scale in (("right.nc", 1.0), ("wrong.nc", 1.5)):
        x = scale * rng.normal(size=(4, 200, 10))
        write_draws(az.from_dict({"posterior": {"x": x}}), name)
    assert main(["diagnose", "wrong.nc", "--target", "std_gaussian"]) == 0
    text = (place / "report.html").read_text("utf-8")
    assert "off the target" in text
    assert "Compared with known values" in text
    assert main(["diagnose", "right.nc", "--reference", "wrong.nc"]) == 0
    text = (place / "report.html").read_text("utf-8")
    assert "Distance from the target" in text
    assert "The draws are not like the reference" in text


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "--posterior"])
def test_calibrate_writes_a_page_and_the_verdict(place, capsys, where):
    typed = f"calibrate mymodel.py:model --data data.npz --kernel nuts --simulations 20 {where}"
    assert main([*typed.split(), "--store", "kept", *SHORT]) == 0
    out = capsys.readouterr().out
    assert "20 refits (false-alarm rate 0.05" in out
    assert "Calibration of nuts on mymodel.py:model" in (place / "calibration.html").read_text()
    assert len(list((place / "kept").iterdir())) == 2


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("--help", 0),
        ("run --help", 0),
        ("list", 0),
        ("no_such_command", 2),
        ("compare --target no_such --kernel mala", 2),
        ("compare --target funnel --kernel mela", 2),
        ("compare --target funnel --kernel mala --out no/x.html", 2),
        ("diagnose no_such.nc", 2),
        ("calibrate mymodel.py:model --data no_such.npz --kernel mala", 2),
        ("fit no_such.nc", 2),
        ("generate no_such.eqx", 2),
        ("generate score.eqx --out draws.csv", 2),
        ("run no_such.py:model --kernel mala", 2),
        ("run mymodel.py:model --data no_such.npz --kernel mala", 2),
        ("run mymodel.py:model --kernel mala --process-id 1", 2),
    ],
)
def test_help_and_what_is_wrong_at_sight_wait_for_no_import(place, typed, status):
    code = (
        "import sys, numpyro_score.cli as cli\n"
        "try: status = cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: status = stop.code\n"
        "assert not {'jax', 'numpy'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *typed.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("compare --target no_such --kernel mala", "unknown target 'no_such'; known targets: ban"),
        ("compare --target funnel --kernel mela", "unknown kernel 'mela' (did you mean 'mala'?); "),
        ("compare --target mymodel.py:PLAIN --kernel mala", "must be a name or a numpyro_score.t"),
        ("compare --target mymodel.py:none --kernel mala", "'none' is not there in mymodel.py"),
        ("compare --target funnel --kernel mala --resume", "resume=True needs store="),
        (
            "compare --target funnel --kernel mala --budget 3",
            "of 3 evaluations does not pay",
        ),
        ("compare --target funnel --kernel mala --store x.nc", "a folder named *.zarr"),
        ("diagnose theirs.nc --target funnel", "which the posterior lacks"),
        ("diagnose theirs.nc --reference no_such.nc", "there is no file no_such.nc"),
        ("compare --target funnel --kernel mala --out no/x.html", "no of --out does not exist"),
        ("compare --target funnel --kernel mala --out folder", "folder is a folder"),
        ("run mymodel.py:model --kernel no_such", "unknown kernel 'no_such'"),
        ("run mymodel.py:no_such --kernel mala", "its functions are model, other, unseen, infin"),
        ("run mymodel.py:PLAIN --kernel mala", "'PLAIN' is not a function"),
        ("run mymodel.py --kernel mala", "FILE.py:MODEL"),
        ("run no_such.py:model --kernel mala", "there is no file no_such.py"),
        ("run mymodel.py:model --data no_such.npz --kernel mala", "no data file no_such.npz"),
        ("run mymodel.py:model --data table.csv --kernel mala", "no zip archive"),
        ("run mymodel.py:model --data bare.npy --kernel mala", "no zip archive"),
        ("run mymodel.py:model --data objects.npz --kernel mala", "it holds pickled objects"),
        ("run mymodel.py:model --data wrong.npz --kernel mala", "it takes (x, y=None, scale=1.0)"),
        ("run mymodel.py:model --kernel mala", "the data file has nothing"),
        ("run mymodel.py:other --kernel mala --out draws.csv", "must end in .nc or .zarr"),
        ("run mymodel.py:other --kernel mala --out folder/no/x.nc", "does not exist"),
        ("run mymodel.py:infinite --kernel mala", "wall"),
        ("run mymodel.py:confused --kernel mala", "failed with TypeError: unsupported operand"),
        # JAX raises it, but the line of the model is told
        ("run mymodel.py:uneven --kernel mala", "broadcasting: (3,), (4,). (mymodel.py, line 23)"),
        ("run mymodel.py:other --kernel mymodel.py:none", "'none' is not there in mymodel.py"),
        ("calibrate mymodel.py:model --data wrong.npz --kernel mala", "it takes (x, y=None, scal"),
        ("calibrate mymodel.py:model --data data.npz --kernel mela", "unknown kernel 'mela'"),
        ("calibrate mymodel.py:unseen --data data.npz --kernel mala", "no observed site"),
        ("diagnose no_such.nc", "there is no file no_such.nc"),
        ("diagnose table.csv", "cannot be read as a netCDF file"),
        ("diagnose prior.nc", "no group 'posterior' (its groups: prior)"),
        ("diagnose theirs.nc --out no/x.html", "does not exist"),
    ],
)
def test_bad_input_ends_with_2_and_one_message(place, capsys, typed, message):
    command = typed.split()
    short = [] if command[0] == "diagnose" else SHORT
    assert main([*command, *short]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith(f"numpyro-score {command[0]}: error: ")
    assert "Traceback" not in err
    assert not list(place.glob("*.html"))


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "no_such_command",
        "compare --target funnel",
        "compare --kernel mala",
        "compare --target funnel --kernel mala --budget 10x",
        "compare --target funnel --kernel mala --budget 0s",
        "run mymodel.py:other --kernel mala --chains 0",
        "calibrate mymodel.py:model --data data.npz --kernel mala --alpha 1",
        "run mymodel.py:other --kernel mala --samples many",
        f"run mymodel.py:other --kernel mala --seed {2**63}",
        f"compare --target funnel --kernel mala --seed {2**70}",
    ],
)
def test_what_cannot_be_parsed_ends_with_2(capsys, typed):
    with pytest.raises(SystemExit) as stop:
        main(typed.split())
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_found_out_before_sampling(place, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(common.tempfile, "TemporaryFile", fail)
    monkeypatch.setattr(running, "sample", None)
    assert main(["run", "mymodel.py:other", "--kernel", "mala", *SHORT]) == 2
    assert "cannot be written to: Permission denied" in capsys.readouterr().err


def test_a_file_of_draws_is_not_replaced_unasked(place, capsys, monkeypatch):
    (place / "draws.nc").write_text("a long run")
    monkeypatch.setattr(running, "sample", None)
    args = ["run", "mymodel.py:other", "--kernel", "mala", *SHORT]
    assert main(args) == 2
    assert "draws.nc exists; give another --out, or --overwrite" in capsys.readouterr().err
    # it comes past the checks, to where there is nothing to run
    assert main([*args, "--overwrite"]) == 2
    assert "NoneType" in capsys.readouterr().err
    assert (place / "draws.nc").read_text() == "a long run"


def test_draws_that_cannot_be_written_are_saved_elsewhere(place, capsys, monkeypatch):
    real = write_draws

    def full(dt, path):
        if path.parent != place and path.is_absolute():
            return real(dt, path)
        raise OSError("disk full")

    monkeypatch.setattr(running, "write_draws", full)
    assert main(["run", "mymodel.py:other", "--kernel", "rwm", *SHORT]) == 0
    said = capsys.readouterr()
    assert "disk full" in said.err
    path = said.out.splitlines()[0].removeprefix("The draws are at ")
    assert read_draws(path).posterior.sizes["draw"] == 30


def test_draws_that_a_format_cannot_hold_are_saved_as_another(place, capsys, monkeypatch):
    real = write_draws

    def no_netcdf(dt, path):
        if path.suffix == ".nc":
            raise TypeError("no such type in netCDF")
        return real(dt, path)

    monkeypatch.setattr(running, "write_draws", no_netcdf)
    assert main(["run", "mymodel.py:other", "--kernel", "rwm", *SHORT]) == 0
    path = capsys.readouterr().out.splitlines()[0].removeprefix("The draws are at ")
    assert path.endswith(".zarr")
    assert read_draws(path).posterior.sizes["draw"] == 30


def test_draws_are_written_before_they_are_looked_at(place, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("cannot judge")

    monkeypatch.setattr(running, "judge", fail)
    with pytest.raises(RuntimeError):
        main(["run", "mymodel.py:other", "--kernel", "rwm", *SHORT])
    assert read_draws("draws.nc").posterior.sizes["draw"] == 30


def test_a_kernel_of_the_users_own(place):
    args = ["run", "mymodel.py:other", "--kernel", "mymodel.py:small_steps", *SHORT]
    assert main(args) == 0
    assert float(read_draws("draws.nc").sample_stats.step_size.mean()) == pytest.approx(0.1)


@pytest.fixture
def interrupt_in(monkeypatch):
    """Presses Ctrl-C when the first steps of a phase have been made."""
    # a process that was started in the background ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    update = Bar.update

    def set_up(at):
        def update_then_interrupt(self, num_steps, text="", *, phase=None):
            update(self, num_steps, text, phase=phase)
            if phase == at:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Bar, "update", update_then_interrupt)

    yield set_up
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_the_draws_so_far(place, capsys, interrupt_in):
    interrupt_in("sampling")
    args = ["run", "mymodel.py:other", "--kernel", "rwm", "--samples", "1000000", "--no-progress"]
    assert main([*args, "--chains", "2"]) == 130
    said = capsys.readouterr()
    assert "Interrupted after" in said.err
    assert "The draws are at" in said.out
    dt = read_draws(place / "draws.nc")
    assert dt.attrs["complete"] == 0
    assert 0 < dt.posterior.sizes["draw"] < 1_000_000
    assert dt.warmup_posterior.sizes["draw"] == 500


def test_ctrl_c_in_warmup_says_that_there_are_no_draws(place, capsys, interrupt_in):
    interrupt_in("warmup")
    args = ["run", "mymodel.py:other", "--kernel", "rwm", "--warmup", "1000000", "--no-progress"]
    assert main([*args, "--chains", "2"]) == 130
    assert "Interrupted in warmup" in capsys.readouterr().err


def test_ctrl_c_before_the_first_step_writes_nothing(place, capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "sample", stop)
    assert main(["run", "mymodel.py:other", "--kernel", "rwm", *SHORT]) == 130
    assert "nothing is written" in capsys.readouterr().err
    assert not (place / "draws.nc").exists()


def test_ctrl_c_in_compare_reports_on_what_ended(place, capsys, interrupt_in):
    interrupt_in("sampling")
    args = ["compare", "--target", "std_gaussian", "--kernel", "rwm", "--kernel", "mala"]
    assert main([*args, *SHORT]) == 130
    text = (place / "report.html").read_text("utf-8")
    assert "was interrupted" in text
    assert "not run" in text

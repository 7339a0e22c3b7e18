import io
import sys

import pytest

from numpyro_score.progress import (
    CHUNK_SECONDS,
    FIRST_CHUNK,
    MAX_GROWTH,
    Bar,
    Pace,
    TaskProgress,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def go(is_shown: bool = True) -> None:
    with TaskProgress("testing", 2, is_shown=is_shown) as progress:
        for name in ("one", "two"):
            progress.start(name)
            progress.done("fine")


def test_a_log_has_whole_lines(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    go()
    lines = log.getvalue().splitlines()
    assert lines[0] == "testing: 2 tasks"
    assert [line.split(" (")[0] for line in lines[1:]] == ["[1/2] one: fine", "[2/2] two: fine"]
    assert "\r" not in log.getvalue()


def test_a_task_that_ran_elsewhere_tells_what_it_took(capsys):
    with TaskProgress("testing", 1) as progress:
        progress.start("one")
        progress.done("fine", 12.3)
    assert capsys.readouterr().err.splitlines()[1] == "[1/1] one: fine (12.3 s)"


def test_a_terminal_has_a_bar_and_the_outcomes_above_it(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    go()
    assert "[2/2] two: fine" in terminal.getvalue()
    assert "2/2" in terminal.getvalue().splitlines()[-1]


def test_silence_is_kept(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    go(is_shown=False)
    assert log.getvalue() == ""


def test_a_bar_reports_to_a_callback_instead() -> None:
    reports: list[tuple[str, int, int]] = []
    with Bar(30, progress=lambda *report: reports.append(report)) as bar:
        bar.report("exploring", 1, 4)
        bar.report("exploring", 3, 4)
        bar.start("training", 30, done=10)
        bar.update(20)
    assert reports == [
        ("exploring", 1, 4),
        ("exploring", 3, 4),
        ("training", 10, 30),
        ("training", 30, 30),
    ]


def test_a_bar_goes_on_after_an_earlier_run(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(100) as bar:
        bar.start("sampling", done=60)
        bar.update(40, "accept 0.57")
    shown = capsys.readouterr().err
    assert "compiling" in shown
    assert "sampling" in shown
    assert "100/100" in shown
    assert "accept 0.57" in shown


def test_chunks_take_half_a_second_and_grow_gently() -> None:
    pace = Pace()
    assert pace.num_steps == FIRST_CHUNK
    pace.update(FIRST_CHUNK, seconds=1e-9)
    assert pace.num_steps == MAX_GROWTH * FIRST_CHUNK
    pace.update(40, seconds=2 * CHUNK_SECONDS)
    assert pace.num_steps == 20
    pace.update(20, seconds=100.0)
    assert pace.num_steps == 1

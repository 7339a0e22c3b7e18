import io
import sys

from numpyro_score.diagnostics.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def go(is_shown: bool = True) -> None:
    with Progress("testing", 2, is_shown=is_shown) as progress:
        for name in ("one", "two"):
            progress.start(name)
            progress.done("fine")


def test_a_log_has_whole_lines(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    go()
    lines = log.getvalue().splitlines()
    assert lines[0] == "testing: 2 in all"
    assert [line.split(" (")[0] for line in lines[1:]] == ["[1/2] one: fine", "[2/2] two: fine"]
    assert "\r" not in log.getvalue()


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

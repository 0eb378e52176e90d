"""What is printed of a command's stages: lines, a live line, or nothing."""

import io
import sys

import pytest

from keras_peterrec import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Replaces stderr; to be called in the test, since pytest replaces it before each test too."""

    def replace():
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("TERM", "xterm")
        return sys.stderr

    return replace


def work():
    with progress.stage("reading [red].csv") as found:
        found("3 events")
    with progress.stage("measuring", brief=True):
        pass
    with progress.bar("epoch 1", 2) as advance:
        advance()
    progress.line("done")


def test_without_a_terminal_a_line_a_stage(capsys):
    work()
    assert capsys.readouterr() == ("", "reading [red].csv ... 3 events, 0.0 s\ndone\n")


def test_a_terminal_also_shows_what_goes_on(terminal):
    screen = terminal()
    work()
    for shown in ("reading [red].csv ...", "measuring ...", "epoch 1", "1/2", "0.0 s\n", "done\n"):
        assert shown in screen.getvalue()


def test_a_stage_within_a_stage_or_a_bar_is_only_a_line(terminal):
    screen = terminal()
    with progress.bar("epoch 1", 2), progress.stage("measuring"):
        pass
    assert "measuring ... 0.0 s" in screen.getvalue()


def test_a_failed_stage_leaves_the_terminal_free(terminal):
    screen = terminal()
    for _ in range(2):
        with pytest.raises(ValueError), progress.stage("reading"):
            raise ValueError
    assert screen.getvalue().count("reading ...") >= 2
    assert "0.0 s" not in screen.getvalue()


@pytest.mark.parametrize(("how", "lines"), [("off", 0), ("lines", 2)])
def test_the_environment_can_say_how(how, lines, terminal, monkeypatch):
    screen = terminal()
    monkeypatch.setenv(progress.HOW, how)
    work()
    assert screen.getvalue().count("\n") == lines

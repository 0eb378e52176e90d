"""What is printed of a command's stages: lines, a live line, or nothing."""

import io
import sys
import time

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


def slow_work(pause=0.02):
    with progress.stage("measuring"):
        progress.part("test users")
        for _ in progress.each(range(4), "ranking"):
            time.sleep(3 * pause)
        progress.part("their groups")
        time.sleep(10 * pause)
    with progress.stage("fitting"), progress.stage("solving"):
        time.sleep(3 * pause)
    with progress.bar("epoch 1", 4) as advance:
        advance()
        time.sleep(3 * pause)


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(progress, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(progress, "LONGEST_PAUSE", 0.02)


def test_a_long_stage_says_how_far_it_is(short_pauses, capsys):
    slow_work()
    said = capsys.readouterr().err.splitlines()
    assert "measuring ... test users: ranking 50 %" in said
    assert "measuring ... their groups" in said
    assert "solving ..." in said and "fitting ..." not in said  # the stage within speaks
    assert "epoch 1 ... 1 of 4" in said


def test_a_short_stage_says_nothing_before_its_end(capsys):
    slow_work(pause=0.001)
    said = capsys.readouterr().err.splitlines()
    assert [text.split(" ...")[0] for text in said] == ["measuring", "solving", "fitting"]


def test_the_pauses_grow(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_PAUSE", 0.02)
    with progress.stage("measuring"):
        time.sleep(0.5)  # after .02, .06, .14 and .30
    assert 2 <= capsys.readouterr().err.count("\n") - 1 <= 5


def test_a_terminal_shows_how_far_a_stage_is(terminal):
    screen = terminal()
    with progress.stage("measuring"):
        for _ in progress.each(range(2), "ranking"):
            time.sleep(0.3)
    assert "measuring ... ranking 50 %" in screen.getvalue()


def test_off_is_silent_of_a_long_stage_too(short_pauses, capsys, monkeypatch):
    monkeypatch.setenv(progress.HOW, "off")
    slow_work()
    assert capsys.readouterr() == ("", "")


def test_going_through_something_outside_of_a_stage_prints_nothing(capsys):
    progress.part("ours")
    assert list(progress.each(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_steps_of_different_sizes_count_by_these(short_pauses, capsys):
    with progress.stage("counting"):
        for size in progress.each([3, 1], "users", total=4, size=lambda step: step):
            time.sleep(0.1 if size == 1 else 0)
    assert "counting ... users 75 %" in capsys.readouterr().err

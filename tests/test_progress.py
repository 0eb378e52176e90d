"""What is printed of a command's stages: lines, a live line, or nothing."""

import io
import re
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_peterrec import progress
from keras_peterrec.task_kinds import choose_kind


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


class Said(list):
    """What was printed, for which a busy machine may need a while."""

    def until(self, start):
        until = time.monotonic() + 20
        while not any(text.startswith(start) for text in self):
            assert time.monotonic() < until, (start, self)
            time.sleep(0.005)


@pytest.fixture
def said(monkeypatch):
    """The lines of stages whose pauses are short."""
    lines = Said()
    monkeypatch.setattr(progress, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(progress, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(progress, "line", lines.append)
    return lines


def test_a_long_stage_says_how_far_it_is(said):
    with progress.stage("measuring"):
        progress.part("test users")
        for step in progress.each(range(4), "ranking"):
            said.until(f"measuring ... test users: ranking {25 * step} %")
        progress.part("their groups")
        said.until("measuring ... their groups")
    with progress.bar("epoch 1", 4) as advance:
        advance()
        said.until("epoch 1 ... 1 of 4")


def test_of_stages_in_each_other_the_inner_one_speaks(said):
    with progress.stage("fitting"):
        with progress.stage("solving"):
            said.until("solving ...")
            before = len(said)
            time.sleep(0.1)
            # Here: as soon as the inner one is over, the outer one may speak.
            assert not any(text.startswith("fitting") for text in said[before:])
        said.until("fitting ...")


def test_steps_of_different_sizes_count_by_these(said):
    with progress.stage("counting"):
        for size in progress.each([3, 1], "users", total=4, size=lambda step: step):
            said.until(f"counting ... users {75 if size == 1 else 0} %")


def test_a_short_stage_says_nothing_before_its_end(capsys):
    with progress.stage("measuring"):
        for _ in progress.each(range(4), "ranking"):
            pass
    assert capsys.readouterr().err.count("\n") == 1


def test_the_pauses_grow(said, monkeypatch):
    monkeypatch.setattr(progress, "LONGEST_PAUSE", 100.0)
    with progress.stage("measuring"):
        time.sleep(0.5)  # after .01, .03, .07, .15 and .31
    assert 1 <= len(said) - 1 <= 5


def test_a_terminal_shows_how_far_a_stage_is(terminal):
    screen = terminal()
    with progress.stage("measuring"):
        for _ in progress.each(range(2), "ranking"):
            until = time.monotonic() + 20
            while "measuring ... ranking" not in screen.getvalue() and time.monotonic() < until:
                time.sleep(0.01)
    assert "measuring ... ranking 0 %" in screen.getvalue()


def test_off_is_silent_of_a_long_stage_too(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv(progress.HOW, "off")
    with progress.stage("measuring"):
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_going_through_something_outside_of_a_stage_prints_nothing(capsys):
    progress.part("ours")
    assert list(progress.each(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


# Where stderr is written without asking how: errors, a server's log, and this module's own lines.
OWN_STDERR = {"cli.py", "progress.py", "tensorflow_start.py", "server/server.py"}


def test_all_that_is_told_of_progress_goes_through_this_module():
    package = Path(progress.__file__).parent
    told = re.compile(r"print\([^#]*?file=sys\.stderr|sys\.stderr\.write", re.DOTALL)
    found = {p.relative_to(package).as_posix() for p in package.rglob("*.py")}
    found = {name for name in found if told.search((package / name).read_text("utf-8"))}
    assert found <= OWN_STDERR


def test_off_is_off(monkeypatch, capsys):
    monkeypatch.setenv(progress.HOW, "off")
    labels = SimpleNamespace(column="age", values=["1", "2", "3"], classes=None)
    choose_kind(None, labels)
    assert capsys.readouterr() == ("", "")


def test_a_stage_that_speaks_has_spoken_before_one_in_it_begins(said, monkeypatch):
    speaks = threading.Event()

    def slowly(text):
        speaks.set()
        time.sleep(0.05)
        said.append(text)

    monkeypatch.setattr(progress, "line", slowly)
    with progress.stage("fitting"):
        assert speaks.wait(20)
        with progress.stage("solving"):
            before = len(said)
            said.until("solving ...")
            assert not any(text.startswith("fitting") for text in said[before:])

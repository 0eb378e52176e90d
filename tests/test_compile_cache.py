"""The folder of compiled programs: which one, what is removed from it, and when there is none."""

import os
import time
from pathlib import Path

import pytest

from keras_peterrec import compile_cache

FLAG = "--tf_xla_persistent_cache_directory="
pytestmark = pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists(), reason="elsewhere the CPU is not known"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("TF_XLA_FLAGS", "XLA_FLAGS", compile_cache.SWITCH):
        # Set before deleted, so that it is deleted again after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def folder():
    """The folder that XLA would use, or `None`."""
    compile_cache.use_compile_cache()
    words = os.environ.pop("TF_XLA_FLAGS", "").split()
    return next((word.removeprefix(FLAG) for word in words if word.startswith(FLAG)), None)


def test_lies_in_the_users_cache_a_folder_a_machine_and_way_to_compile(tmp_path, monkeypatch):
    first = folder()
    assert Path(first).parent == tmp_path / "keras-peterrec" / "compiled"
    assert Path(first).is_dir() and folder() == first
    monkeypatch.setenv("XLA_FLAGS", "--xla_llvm_disable_expensive_passes=true")
    assert folder() != first


def test_the_users_own_flags_stay(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=1")
    compile_cache.use_compile_cache()
    assert os.environ["TF_XLA_FLAGS"].startswith(f"--tf_xla_auto_jit=1 {FLAG}")
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}/own")
    assert folder() == "/own"


def test_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(compile_cache.SWITCH, "0")
    assert folder() is None


def test_is_not_used_where_it_would_make_a_run_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "LEAST_FREE_BYTES", 2**80)  # a full disk
    assert folder() is None
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "white space"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        assert folder() is None


def test_is_the_users_own_and_no_other_reads_it():
    assert Path(folder()).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", [".", "..", "../.."])
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_is_not_used_where_others_may_write(place, mode, monkeypatch, capsys):
    changed = Path(folder()).joinpath(place).resolve()
    changed.chmod(mode)
    if mode == 0o770 and changed.stat().st_gid == os.getuid():
        if os.getuid():
            pytest.skip("the group is the user's own")
        os.chown(changed, -1, 12345)  # a group of others
    assert folder() is None and not capsys.readouterr().err
    compile_cache.use_compile_cache(verbose=True)
    assert capsys.readouterr().err.count("\n") == 1
    changed.chmod(0o700)
    assert folder() is not None


def test_is_not_used_where_it_is_anothers(monkeypatch, capsys):
    mine = folder()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert folder() is None
    compile_cache.use_compile_cache(verbose=True)
    assert capsys.readouterr().err == (
        f"compiled programs are not kept: other users may change {mine}\n"
    )


def test_a_link_is_as_safe_as_where_it_leads(tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "shared" / "mine").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "shared" / "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert folder() is None
    (tmp_path / "shared").chmod(0o1777)  # as /tmp is
    assert folder() is not None


def program(path, size):
    """A file like XLA's: a protocol buffer with one field of bytes."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x1a" + bytes([size & 127 | 128, size >> 7]) + bytes(size))
    return path


def test_the_oldest_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "MOST_BYTES", 1000)
    names = ("old/a", "old/b", "new/c", "new/d")
    files = [program(tmp_path / f"{name}.pb", 400) for name in names]
    for hours, file in enumerate(files):
        os.utime(file, (1e9 + 3600 * hours,) * 2)
    compile_cache.clean(tmp_path)
    assert [file.exists() for file in files] == [False, False, True, True]


def test_what_a_process_left_half_written_is_removed_an_hour_later(tmp_path):
    for name, hours in (("old", 2), ("new", 0)):
        file = program(tmp_path / "machine" / f"{name}.pb.tmp", 400)
        os.utime(file, (time.time() - 3600 * hours,) * 2)
    compile_cache.clean(tmp_path)
    assert [file.name for file in tmp_path.rglob("*.tmp")] == ["new.pb.tmp"]


@pytest.mark.parametrize("content", [b"", b"\x1a\x90\x03" + bytes(399), bytes(400), b"\xff" * 400])
def test_damaged_files_are_removed(content, tmp_path):
    whole = program(tmp_path / "machine" / "whole.pb", 400)
    damaged = whole.with_name("damaged.pb")
    damaged.write_bytes(content)
    compile_cache.clean(tmp_path)
    assert [file.name for file in tmp_path.rglob("*.pb")] == ["whole.pb"]

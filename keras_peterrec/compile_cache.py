"""What XLA compiled for the CPU, kept for the next process.

Compiling a training step takes seconds, and the same command compiles the same program again. XLA
can keep its programs in a folder, but trusts it: it would run a program of another CPU or of
another user, fails the training if a file is damaged, and removes nothing. So this module chooses
the folder and looks after it.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import time

from keras_peterrec.files.cache_folder import cache_folder

SWITCH = "KERAS_PETERREC_COMPILE_CACHE"
MOST_BYTES = 256 * 2**20
LEAST_FREE_BYTES = 2**30
ABANDONED_SECONDS = 3600
_FLAG = "--tf_xla_persistent_cache_directory"


def use_compile_cache(verbose=False):
    """Has XLA keep what it compiles for the CPU; call it before TensorFlow is imported.

    Nothing is kept where `KERAS_PETERREC_COMPILE_CACHE` is 0, `TF_XLA_FLAGS` names a folder
    already, the folder cannot be written, the disk is nearly full (XLA fails if it cannot write),
    the CPU is not known, or somebody else could put a program into the folder.

    Args:
        verbose: bool. Whether a line on stderr says the last. Defaults to `False`.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if os.environ.get(SWITCH) == "0" or _FLAG in flags:
        return
    machine = _machine()
    if machine is None:
        return
    folder = cache_folder() / "compiled" / machine
    if any(letter.isspace() for letter in str(folder)):  # the flags are separated by spaces
        return
    try:
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                place.mkdir(0o700, exist_ok=True)
        stranger = open_to_others(folder)
        if stranger is not None:
            if verbose:
                # Imported only here, since it takes a while.
                from keras_peterrec.progress import line

                line(f"compiled programs are not kept: other users may change {stranger}")
            return
        free = shutil.disk_usage(folder).free
        clean(folder.parent)
    except OSError:
        return
    if os.access(folder, os.W_OK | os.X_OK) and free >= LEAST_FREE_BYTES:
        kinds = "--tf_xla_persistent_cache_device_types=CPU"
        os.environ["TF_XLA_FLAGS"] = f"{flags} {_FLAG}={folder} {kinds}".strip()


def open_to_others(folder):
    """Finds out whether somebody else could put a file into a folder, or another in its place.

    Args:
        folder: pathlib.Path, absolute.

    Returns:
        pathlib.Path of the folder, or of one above it, that belongs to another user, or that
        others may write; `None` where there is none. Above it, a folder such as `/tmp` is allowed,
        in which nobody may rename what is another's.
    """
    real = folder.resolve()
    user = os.getuid()
    for place in dict.fromkeys([folder, real, *folder.parents, *real.parents]):
        status = os.stat(place)
        others = stat.S_IWOTH
        if status.st_gid != user:  # else a group of one's own, as many systems make it
            others |= stat.S_IWGRP
        own = place in (folder, real, folder.parent, real.parent)
        sticky = status.st_mode & stat.S_ISVTX and not own
        if status.st_uid not in ((user,) if own else (user, 0)):
            return place
        if status.st_mode & others and not sticky:
            return place
    return None


def clean(folder):
    """Removes damaged and abandoned files, and the oldest ones beyond `MOST_BYTES` in all.

    Args:
        folder: pathlib.Path, of which the folders are looked at.
    """
    for file in folder.glob("*/*.tmp"):  # half written when a process ended
        with contextlib.suppress(OSError):  # another process may have removed it
            if file.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                file.unlink()
    kept = []
    for file in folder.glob("*/*.pb"):
        with contextlib.suppress(OSError):
            status = file.stat()
            if is_whole(file):
                kept.append((max(status.st_atime, status.st_mtime), status.st_size, file))
            else:
                file.unlink()
    room = MOST_BYTES
    for _, size, file in sorted(kept, reverse=True):
        room -= size
        if room < 0:
            with contextlib.suppress(OSError):
                file.unlink()


def is_whole(file):
    """Whether a file is a protocol buffer from its first byte to its last.

    A machine that loses its power may leave a file that is empty, cut off or full of zeros. Only
    the lengths of the fields are read, so that it takes no time.
    """
    size = os.path.getsize(file)
    with open(file, "rb") as content:
        while content.tell() < size:
            tag = _number(content)
            if tag is None or tag < 8:
                return False
            if tag & 7 == 2:  # the length of a text, of bytes or of a message comes first
                length = _number(content)
                if length is None or content.tell() + length > size:
                    return False
                content.seek(length, os.SEEK_CUR)
            elif tag & 7 != 0 or _number(content) is None:
                return False
    return size > 0


def _number(content):
    """The next number of a protocol buffer, seven bits a byte; `None` where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    return None


def _machine():
    """A name for all that a compiled program depends on; `None` if the CPU is not known."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = file.read().partition("\n\n")[0].splitlines()
        tensorflow = version("tensorflow")
    except (OSError, PackageNotFoundError):
        return None
    fields = ("vendor_id", "cpu family", "model", "model name", "flags", "stepping")
    arm = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features")
    cpu = [line for line in lines if line.partition(":")[0].strip() in fields + arm]
    if not cpu:
        return None
    asked = [os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_NUM_INTRAOP_THREADS")]
    described = "\n".join([*cpu, str(len(os.sched_getaffinity(0))), *asked])
    return f"tensorflow-{tensorflow}-{hashlib.sha256(described.encode()).hexdigest()[:16]}"

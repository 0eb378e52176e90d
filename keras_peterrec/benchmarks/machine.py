"""What a measurement was made on."""

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np

COPIED_BYTES = 256 * 2**20


def describe_machine():
    """Processor, cores, memory and versions."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_bytes": memory_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "keras", "tensorflow")},
    }


def memory_bytes():
    """Physical memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_bandwidth(repeats=5):
    """Bytes a second, read and written, of a large NumPy copy by all cores: the best one."""
    source = np.ones(COPIED_BYTES, "uint8")
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, _cores()), np.array_split(source, _cores())))
    seconds = []
    with ThreadPoolExecutor(len(parts)) as threads:
        for _ in range(repeats):
            began = time.perf_counter()
            list(threads.map(lambda part: np.copyto(*part), parts))
            seconds.append(time.perf_counter() - began)
    return 2 * COPIED_BYTES / min(seconds)


def _cores():
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().split("\n"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

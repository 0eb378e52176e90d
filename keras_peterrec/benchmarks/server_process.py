"""The embedded server in a process of its own, on loopback ports that are free."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

from keras_peterrec.benchmarks.worker import WorkerError

_ANSWERS = re.compile(r"http://127\.0\.0\.1:(\d+) answers")
_END_SECONDS = 60


class ServerProcess:
    """`keras-peterrec serve` as a person starts it.

    Args:
        base_path: path of a folder with version directories.
        options: list of str. More words of the command. Defaults to `()`.

    Attributes:
        port: int.
        start_seconds: float. Until it answered.

    Raises:
        WorkerError: it ends before it answers.

    Example:

    >>> with ServerProcess("export/peterrec") as server:
    ...     print(server.port)
    """

    def __init__(self, base_path, options=()):
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "keras_peterrec",
                "serve",
                "--json",
                "--model-base-path",
                str(base_path),
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--grpc-port",
                "0",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        )
        self.port, self._counted, last = None, None, ""
        for line in self._process.stderr:
            last = line.strip() or last
            if found := _ANSWERS.search(line):
                self.port = int(found[1])
                break
        if self.port is None:
            self._process.communicate()
            raise WorkerError(f"the server ended: {last}")
        self.start_seconds = time.perf_counter() - began
        # Read on, or the server waits once the pipe is full.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    @property
    def pid(self):
        """Number of the process."""
        return self._process.pid

    def close(self):
        """Ends it as SIGTERM does.

        Returns:
            int, the requests that it counted, or None where it does not say.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_SECONDS)
            self._counted = json.loads(self._process.stdout.read())["requests"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            pass  # it hangs, or this was said before
        finally:
            self._process.kill()
            self._process.wait()
        return self._counted

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

"""What others run in a process of its own, in this one: TensorFlow's import takes seconds."""

import contextlib
import io
import subprocess

from keras_peterrec import cli


class WorkerHere:
    """A `WorkerProcess` of this process."""

    def __init__(self, **settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def call(self, function, **arguments):
        return function(**arguments)


def run_here(*words):
    """What `python -m keras_peterrec` would end with; a traceback is an error of the test."""
    words = [str(word) for word in words]
    status, out, error = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            cli.main(words)
        except SystemExit as ended:
            status = ended.code or 0
    return subprocess.CompletedProcess(words, status, out.getvalue(), error.getvalue())

"""A command in this process: starting another costs seconds, most of them TensorFlow's import."""

import contextlib
import io
import subprocess

from keras_peterrec import cli


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

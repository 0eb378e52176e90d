"""Starts a worker of ours as our commands start: `start_worker.py MODULE JSON`."""

import importlib
import sys

from keras_peterrec.benchmarks.worker import serve
from keras_peterrec.tensorflow_start import load_tensorflow

if __name__ == "__main__":
    load_tensorflow()
    serve(importlib.import_module(sys.argv[1]).start)

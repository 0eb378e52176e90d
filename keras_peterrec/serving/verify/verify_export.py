"""The checks of an exported version, in order."""

import contextlib
import functools
from collections.abc import Callable

from keras_peterrec import progress
from keras_peterrec.serving.verify.answers import (
    check_batches,
    check_c_loader,
    check_tensorflow_alone,
    check_warmup,
)
from keras_peterrec.serving.verify.contents import (
    check_assets,
    check_bundles,
    check_files,
    check_operations,
    check_safety,
    check_signatures,
    check_weights,
)
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.warmup import graphs_as_they_are
from keras_peterrec.types import AnyPath

# Each function takes an ExportFolder and returns the problems that it finds, a list of str.
Check = Callable[[ExportFolder], list[str]]
_CHECKS: dict[str, Check] = {
    "files": check_files,
    "assets": check_assets,
    "signatures": check_signatures,
    "operations": check_operations,
    "task bundles": check_bundles,
    "weights": check_weights,
    "safety": check_safety,
    "warm-up": check_warmup,
    "batches": check_batches,
    "C loader": check_c_loader,
}
_THOROUGH: dict[str, Check] = {
    "C loader": functools.partial(check_c_loader, thorough=True),
    "TensorFlow alone": check_tensorflow_alone,
}
# If one of these finds a problem, the model cannot be loaded and the later checks are skipped.
_NEEDED = ("files", "assets", "safety")


def checks(thorough: bool = False, trust: bool = False) -> dict[str, Check]:
    """The checks by name, in order; those after `safety` run the model. See `verify_export`."""
    asked: dict[str, Check] = {**_CHECKS, **(_THOROUGH if thorough else {})}
    if trust:
        del asked["safety"]
    return asked


def verify_export(path: AnyPath, thorough: bool = False, trust: bool = False) -> list[str]:
    """Finds what would go wrong with a version in TensorFlow Serving.

    TensorFlow optimizes the graph of every signature when it is first asked, as a server does; that
    takes most of the time and is left out unless `thorough`. So are a process with TensorFlow
    alone, and signatures for `tf.Example` in TensorFlow's C loader.

    Args:
        path: a version directory, written by `export` or any other SavedModel.
        trust: whether a model is run that may do more than compute, such as read and write files.

    Returns:
        One line a problem, "check: problem".

    Example:

    >>> verify_export("export/peterrec/1")
    []
    """
    folder, problems = ExportFolder(path), []
    with contextlib.nullcontext() if thorough else graphs_as_they_are():
        for name, check in checks(thorough, trust).items():
            progress.part(name)
            try:
                of_check = check(folder)
            except Exception as error:  # a broken export can raise anything
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                of_check = [f"cannot be checked: {reason}"]
            problems += [f"{name}: {problem}" for problem in of_check]
            if of_check and name in _NEEDED:
                break
    return problems

"""The checks of an exported version, in order."""

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
    check_signatures,
    check_weights,
)
from keras_peterrec.serving.verify.export_folder import ExportFolder

# Each function takes an ExportFolder and returns the problems that it finds, a list of str.
CHECKS = {
    "files": check_files,
    "assets": check_assets,
    "signatures": check_signatures,
    "operations": check_operations,
    "task bundles": check_bundles,
    "weights": check_weights,
    "warm-up": check_warmup,
    "batches": check_batches,
    "C loader": check_c_loader,
    "TensorFlow alone": check_tensorflow_alone,
}
# If one of these finds a problem, the model cannot be loaded and the later checks are skipped.
_NEEDED = ("files", "assets")


def verify_export(path):
    """Finds what would go wrong with a version in TensorFlow Serving.

    Args:
        path: path of a version directory, written by `export` or any other SavedModel.

    Returns:
        list of str, one line a problem: "check: problem". Empty if nothing is wrong.

    Example:

    >>> verify_export("export/peterrec/1")
    []
    """
    folder, problems = ExportFolder(path), []
    for name, check in CHECKS.items():
        try:
            found = check(folder)
        except Exception as error:  # a broken export can raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            found = [f"cannot be checked: {reason}"]
        problems += [f"{name}: {problem}" for problem in found]
        if found and name in _NEEDED:
            break
    return problems

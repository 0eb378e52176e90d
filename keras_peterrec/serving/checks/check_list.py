"""The list of what is checked in an export, in order."""

from keras_peterrec.serving.checks.answer_checks import (
    check_batches,
    check_c_loader,
    check_tensorflow_alone,
    check_warmup,
)
from keras_peterrec.serving.checks.export_folder import ExportFolder
from keras_peterrec.serving.checks.files import check_assets, check_bundles, check_files
from keras_peterrec.serving.checks.graph_checks import check_operations
from keras_peterrec.serving.checks.signature_checks import check_signatures
from keras_peterrec.serving.checks.weight_checks import check_weights

# Each takes an ExportFolder and returns what is wrong, a line each.
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
# Where these find something, what follows could not be answered.
_NEEDED = ("files", "assets")


def run_checks(path):
    """Checks a version directory as TensorFlow Serving would use it.

    Args:
        path: path of a version directory, ours or another SavedModel.

    Returns:
        list of str, what is wrong, a line each: "check: what".

    Example:

    >>> run_checks("export/peterrec/1")
    []
    """
    folder, problems = ExportFolder(path), []
    for name, check in CHECKS.items():
        try:
            found = check(folder)
        except Exception as error:  # a broken export may break anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            found = [f"cannot be checked: {reason}"]
        problems += [f"{name}: {problem}" for problem in found]
        if found and name in _NEEDED:
            break
    return problems

"""The request that a training ends now: a file in the folder of its run."""

from pathlib import Path

from keras_peterrec.files.atomic_write import write_text

NAME = "finish"


def ask_to_finish(folder) -> None:
    """Leaves the request; whoever trains in the folder looks for it every second."""
    write_text(Path(folder) / NAME, "")


def is_asked_to_finish(folder) -> bool:
    """Whether somebody has asked that the training in a folder ends."""
    return (Path(folder) / NAME).exists()


def forget_request(folder) -> None:
    """Removes a request, which a process has seen or none is left to see."""
    (Path(folder) / NAME).unlink(missing_ok=True)

"""How much is run at once."""

from dataclasses import dataclass

from keras_peterrec.serving.server.errors import invalid


@dataclass(frozen=True)
class BatchLimits:
    """What is run at once, and what may wait for it.

    Args:
        rows: int. Of one run.
        run_bytes: int. Of one run of more than one row: TensorFlow takes some 40 times as much
            to take long strings apart. Defaults to 4 MiB.
        request_rows: int. Of one request. Defaults to `4096`.
        waiting: int. Requests that may wait; more are refused. Defaults to `1000`.
        waiting_bytes: int. Of all requests that are not answered yet. Defaults to 256 MiB.
    """

    rows: int = 256
    run_bytes: int = 4 << 20
    request_rows: int = 4096
    waiting: int = 1000
    waiting_bytes: int = 256 << 20


def check_rows(shapes, max_rows):
    """Refuses inputs of too many rows.

    Args:
        shapes: iterable of the inputs' shapes.
        max_rows: int.

    Raises:
        ServingError: one is.
    """
    rows = max((shape[0] for shape in shapes if len(shape)), default=1)
    if rows > max_rows:
        raise invalid("Task size ", rows, " is larger than maximum input batch size ", max_rows)

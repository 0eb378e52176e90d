"""What the serving benchmark measures."""

from dataclasses import asdict, dataclass

from keras_peterrec.errors import InputError

# Load is bounded: this measures, it does not attack.
MOST_CONNECTIONS = 256
MOST_SECONDS = 60


@dataclass(frozen=True)
class ServeConfiguration:
    """The made-up model, and the load.

    Args:
        items: int. Of the made-up model. Defaults to `50000`.
        targets: int. Items that its task recommends. Defaults to `5000`.
        hidden_dim: int. Channels. Defaults to `64`.
        blocks: int. Residual blocks. Defaults to `8`.
        length: int. Events of a history, whatever the model. Defaults to `50`.
        connections: tuple of int. Each is measured. Defaults to `(1, 16, 64)`.
        seconds: float. Of a cell, after a fifth of that which does not count.
            Defaults to `5`.
        seed: int. Defaults to `0`.

    Raises:
        InputError: a value cannot be used.
    """

    items: int = 50_000
    targets: int = 5_000
    hidden_dim: int = 64
    blocks: int = 8
    length: int = 50
    connections: tuple = (1, 16, 64)
    seconds: float = 5
    seed: int = 0

    def __post_init__(self):
        for name in ("items", "targets", "hidden_dim", "blocks", "length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(
                    f"`{name}` should be a positive integer. Received: `{name}` = {value!r}."
                )
        if not 0 < self.seconds <= MOST_SECONDS:
            raise InputError(
                f"`seconds` should be above 0 and at most {MOST_SECONDS}. "
                f"Received: `seconds` = {self.seconds!r}."
            )
        if not self.connections or not all(0 < n <= MOST_CONNECTIONS for n in self.connections):
            raise InputError(
                f"`connections` should be from 1 to {MOST_CONNECTIONS}. "
                f"Received: `connections` = {', '.join(map(str, self.connections))}."
            )

    def made_up(self):
        """The arguments of `make_model`."""
        names = ("items", "targets", "hidden_dim", "blocks", "length", "seed")
        return {name: value for name, value in asdict(self).items() if name in names}

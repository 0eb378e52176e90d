"""Sides of a comparison, measured in turns."""

import contextlib
import statistics
from dataclasses import dataclass

import numpy as np

from keras_peterrec.benchmarks.matmul_shapes import PRODUCTS, matmul_operations
from keras_peterrec.benchmarks.worker import Worker, WorkerError


@dataclass(frozen=True)
class Side:
    """A program that takes training steps.

    Args:
        name: str.
        command: list. Of the worker.
        variant: str or `None`. What the worker is asked to be.
    """

    name: str
    command: list
    variant: str | None

    @property
    def label(self):
        """Name and variant."""
        return self.name if self.variant is None else f"{self.name} {self.variant}"


def measure(configuration, sides, rounds, steps, folder, skip):
    """Lets all sides of one configuration take their turns.

    Args:
        configuration: TrainConfiguration.
        sides: list of Side, ours first.
        rounds: int. In every other round the order is reversed.
        steps: int. Timed steps of a turn.
        folder: path for the batches.
        skip: Callable of a side's label and a reason, where it is not ours.

    Returns:
        list of dict, a row each side.

    Raises:
        WorkerError: our own side fails.
    """
    batches = folder / "batches.npy"
    np.save(batches, configuration.batches())
    settings = {**configuration.__dict__, "batches": str(batches)}
    ours = sides[0].label
    workers, turns, products = {}, {side.label: [] for side in sides}, []
    with contextlib.ExitStack() as stack:
        for side in sides:
            with _drop_if_it_fails(side.label, ours, skip, workers):
                worker = Worker(side.command, {**settings, "variant": side.variant})
                workers[side.label] = stack.enter_context(worker)
        for number in range(rounds):
            for label in list(workers)[:: -1 if number % 2 else 1]:
                with _drop_if_it_fails(label, ours, skip, workers):
                    turns[label].append(workers[label].ask(f"run {steps}"))
            products.append(workers[ours].ask("multiply"))
        rates = _rates(configuration, products)
        return [
            _row(configuration, label, worker.ready, turns[label], turns[ours], rates)
            for label, worker in workers.items()
        ]


@contextlib.contextmanager
def _drop_if_it_fails(label, ours, skip, workers):
    """A reference that fails drops out, and the rest goes on."""
    try:
        yield
    except WorkerError as error:
        if label == ours:
            raise
        workers.pop(label, None)
        skip(label, str(error))


def _rates(configuration, products):
    """Operations a second of matrix products: each, all three together, and square."""
    operations = matmul_operations(configuration.tokens, configuration.hidden_dim)
    seconds = {n: statistics.median(round_[n] for round_ in products) for n in operations}
    rates = {name: operations[name] / seconds[name] for name in operations}
    together = sum(operations[n] for n in PRODUCTS) / sum(seconds[n] for n in PRODUCTS)
    return {**rates, "products": together}


def _row(configuration, label, ready, mine, ours, rates):
    times = [each for turn in mine for each in turn["milliseconds"]]
    median = statistics.median(times)
    per_second = configuration.operations / median * 1e3
    ratios = [
        statistics.median(turn["milliseconds"]) / statistics.median(our["milliseconds"])
        for turn, our in zip(mine, ours)
    ]
    return {
        **configuration.__dict__,
        "side": label,
        "tokens": configuration.tokens,
        "step_ms": {"median": median, "min": min(times), "all": times},
        "tokens_per_second": configuration.tokens / median * 1e3,
        "peak_bytes": mine[-1]["peak_bytes"],
        "start_bytes": ready["start_bytes"],
        "first_seconds": ready["first_seconds"],
        "loss_value": mine[-1]["loss"],
        # Greater than one: this side is slower than ours. Median over the rounds.
        "times_ours": statistics.median(ratios),
        "operations": configuration.operations,
        "bytes_moved": configuration.bytes_moved,
        "operations_per_second": per_second,
        "matmul_rates": rates,
        "share_of_products": per_second / rates["products"],
        "share_of_square": per_second / rates["square"],
        "worker": ready["name"],
        "versions": ready.get("versions", {}),
    }

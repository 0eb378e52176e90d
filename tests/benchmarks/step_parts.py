"""Which part of a training step takes how much of its time, by TensorFlow's profiler."""

import time
from collections import Counter

from traced_operations import traced_operations

PRODUCTS = ("dot", "custom-call", "MatMul", "BatchMatMulV2", "_FusedMatMul")
# Where an operation stands in our code, by the beginning of a name in its path.
SCOPES = {
    "loss": "softmax",
    "tables": "tables",
    "norm_": "norms",
    "block_": "taps",  # what else a block does: taps, masks, dropout, the sum at its end
}
PARTS = ("products", "norms", "taps", "softmax", "optimizer", "tables", "other", "idle")


def step_parts(step, steps, optimizer):
    """The share of each part in the time of a step.

    Where several operations run at once, on several threads, each has an equal share of that
    time. `idle` is time in which no operation runs.

    Args:
        step: callable without arguments, which takes a step.
        steps: int. How many to take.
        optimizer: str. Name of the optimizer.

    Returns:
        dict from each of `PARTS` to a number; all together are 1.
    """
    seconds = []

    def run():
        began = time.perf_counter()
        for _ in range(steps):
            step()
        seconds.append(time.perf_counter() - began)

    operations = traced_operations(run)
    found = shared_time([(o.began, o.ended, part_of(o, optimizer)) for o in operations])
    whole = max(seconds[0], sum(found.values()))
    found["idle"] = whole - sum(found.values())
    return {part: found.get(part, 0.0) / whole for part in PARTS}


def part_of(operation, optimizer):
    """The part of a step that an operation belongs to, one of `PARTS`.

    Args:
        operation: TracedOperation.
        optimizer: str. Name of the optimizer.
    """
    scopes = operation.path.split("/")
    if optimizer in scopes:
        return "optimizer"
    found = [
        part
        for beginning, part in SCOPES.items()
        if any(scope.startswith(beginning) for scope in scopes)
    ]
    # On a CPU a norm takes the mean of a row by a product; that is no product of the network.
    if operation.kind in PRODUCTS and (not found or found[0] != "norms"):
        return "products"
    return found[0] if found else "other"


def shared_time(intervals):
    """The time of each part, where parts that run at once share it equally.

    Args:
        intervals: list of (begin, end, part).

    Returns:
        dict from part to time; all together are the time in which anything runs.
    """
    changes = [(began, 1, part) for began, _, part in intervals]
    changes += [(ended, -1, part) for _, ended, part in intervals]
    found, running, before = Counter(), Counter(), 0.0
    for now, change, part in sorted(changes):
        at_once = sum(running.values())
        for each, count in running.items() if at_once else ():
            found[each] += (now - before) * count / at_once
        running[part] += change
        before = now
    return found

"""Requests that wait at the same time run together."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_peterrec.server.errors import UNAVAILABLE, ServingError
from keras_peterrec.server.limits import ByteBudget, check_rows
from keras_peterrec.server.tensors import string_sizes
from keras_peterrec.settings.serve import ServeSettings

if TYPE_CHECKING:
    from keras_peterrec.server.loaded_version import Signature

_FULL = "The batch scheduling queue to which this task was submitted is full"


class _Member(NamedTuple):
    """A request, or a part of one, that waits for its run."""

    inputs: dict
    rows: int
    size: int
    future: asyncio.Future


class Batcher:
    """Runs signatures on a few threads, and merges requests that wait for the same signature.

    A request that finds a free thread runs at once, together with those that the event loop read
    in the same turn; nothing ever waits for a batch to fill. When a thread gets free, it takes
    everything that has come for one signature meanwhile, up to the limits of a run. So batches
    grow by themselves when there is more to do, and a lone client never waits.

    Requests are merged only if their arrays agree in type and in all dimensions but the first.
    If a merged run fails, its requests run one by one, so that a bad request fails alone. A
    request beyond the limits of a run is split, and its parts run one after the other.

    All state belongs to one event loop, so there are no locks. Only `_work` runs on the threads,
    and it hands its results back by `call_soon_threadsafe`.

    Args:
        observe: callable (signature, requests, rows, seconds), called after each run.
    """

    def __init__(self, settings: ServeSettings, observe: Callable[..., None] | None = None) -> None:
        self.settings = settings
        self.workers = settings.workers or os.cpu_count() or 1
        self.waiting = 0
        self._budget = ByteBudget(settings.max_waiting_bytes, _FULL)
        self._observe = observe or (lambda *_: None)
        self._busy = 0
        self._starting = False
        # What can be merged shares a queue. Queues are in the order in which they are served.
        self._queues = OrderedDict()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="run")

    async def run(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> Any:
        """The outputs of `signature`, a list of arrays, for inputs that it has checked.

        Raises:
            ServingError: if there are too many rows, or too much is waiting.
            Exception: what the graph raises.
        """
        arrays = list(inputs.values())
        check_rows([array.shape for array in arrays], self.settings.max_rows)
        size = _size_of(arrays)
        rows = len(arrays[0]) if arrays and arrays[0].ndim else 1
        with self._budget.share() as hold:
            hold(size)
            if rows > self.settings.max_batch_rows or size > self.settings.max_batch_bytes:
                # What may be merged with others may also be split.
                if rows > 1 and _merge_key(signature, arrays):
                    outputs = await self._run_parts(signature, inputs)
                    if outputs is not None:
                        return outputs
                    # Only the whole has the right answer, such as a mean over all rows.
            return await self._enqueue(signature, inputs, rows, size)

    def close(self) -> None:
        """Ends the threads after their last run."""
        self._pool.shutdown(wait=True)

    async def _run_parts(self, signature, inputs):
        """The outputs of all parts together; None if they cannot be put together."""
        results, shapes = [], set()
        # One after the other: a large request must not take all threads from the others.
        for part in split_rows(inputs, self.settings.max_batch_rows, self.settings.max_batch_bytes):
            arrays = list(part.values())
            outputs = await self._enqueue(signature, part, len(arrays[0]), _size_of(arrays))
            results.append(outputs)
            shapes.add(tuple(output.shape[1:] for output in outputs))
            if len(shapes) > 1 or not _is_batch(outputs, len(arrays[0])):
                return None
        return [np.concatenate(outputs) for outputs in zip(*results, strict=True)]

    async def _enqueue(self, signature, inputs, rows, size):
        if self.waiting >= self.settings.max_waiting:
            raise ServingError(UNAVAILABLE, _FULL)
        future = asyncio.get_running_loop().create_future()
        # What cannot be merged gets a queue of its own; no other future has this id while it waits.
        key = _merge_key(signature, list(inputs.values())) or (signature, id(future))
        member = _Member(inputs, rows, size, future)
        self._queues.setdefault(key, deque()).append(member)
        self.waiting += 1
        self._start_soon()
        try:
            return await future
        except asyncio.CancelledError:  # the client has gone, or its time is up
            self._remove(key, member)
            raise

    def _remove(self, key, member):
        """Takes a request that nobody waits for out of its queue, if it is still there."""
        queue = self._queues.get(key, ())
        # By identity: comparing members would compare their arrays.
        for place, other in enumerate(queue):
            if other is member:
                del queue[place]
                self.waiting -= 1
                break
        if key in self._queues and not queue:
            del self._queues[key]

    def _start_soon(self):
        # Not at once: clients that were answered together ask again together, and the first of
        # them would run alone while the others wait for it. `call_soon` lets the loop first read
        # all requests that have arrived.
        if not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self):
        self._starting = False
        # No more runs than threads: what waits in the queues here, and not in the pool's, can
        # still be merged or leave.
        while self._busy < self.workers and self._queues:
            key, queue = next(iter(self._queues.items()))
            members = self._take(queue)
            if queue:
                # Behind the other queues, or a busy signature would starve them.
                self._queues.move_to_end(key)
            else:
                del self._queues[key]
            if members:  # else all of them were cancelled
                self._busy += 1
                loop = asyncio.get_running_loop()
                self._pool.submit(self._work, loop, key[0], members)

    def _take(self, queue):
        """Takes as many requests from a queue as fit into one run, but at least one."""
        # Bytes count beside rows: TensorFlow takes some 40 times as much to split long strings.
        members, rows, size = [], 0, 0
        while queue:
            rows, size = rows + queue[0].rows, size + queue[0].size
            if members and (
                rows > self.settings.max_batch_rows or size > self.settings.max_batch_bytes
            ):
                break
            member = queue.popleft()
            self.waiting -= 1
            # A future is cancelled before its coroutine wakes up and removes the request.
            if member.future.cancelled():
                rows, size = rows - member.rows, size - member.size
            else:
                members.append(member)
        return members

    def _work(self, loop, signature, members):
        """Runs on a thread; touches nothing of the batcher."""
        start = time.perf_counter()
        results = _run_members(signature, members)
        seconds = time.perf_counter() - start
        loop.call_soon_threadsafe(self._finish, signature, members, results, seconds)

    def _finish(self, signature, members, results, seconds):
        self._busy -= 1
        # After the answers: setting a result only schedules the client's coroutine, so clients
        # can be answered and read again before the next run is chosen.
        self._start_soon()
        rows = sum(member.rows for member in members)
        self._observe(signature, len(members), rows, seconds)
        for member, result in zip(members, results, strict=True):
            if member.future.cancelled():  # while it ran
                continue
            if isinstance(result, BaseException):
                member.future.set_exception(result)
            else:
                member.future.set_result(result)


def split_rows(inputs: Mapping[str, np.ndarray], max_rows: int, max_bytes: int) -> Any:
    """Splits inputs of one length into parts of whole rows, a list of dicts from name to array.

    A part of one row may have more than `max_bytes`.

    Example:

    >>> [part["x"].tolist() for part in split_rows({"x": np.arange(5)}, 2, 1000)]
    [[0, 1], [2, 3], [4]]
    """
    starts, part_size = [0], 0
    sizes = _row_sizes(list(inputs.values()))
    for row, size in enumerate(sizes):
        part_size += size
        if row > starts[-1] and (row - starts[-1] == max_rows or part_size > max_bytes):
            starts.append(row)
            part_size = size
    ends = [*starts[1:], len(sizes)]
    return [
        {name: array[start:end] for name, array in inputs.items()}
        for start, end in zip(starts, ends, strict=True)
    ]


def _size_of(arrays):
    """Bytes of arrays, and of the strings in them."""
    return sum(
        array.nbytes + (sum(string_sizes(array)) if array.dtype == object else 0)
        for array in arrays
    )


def _row_sizes(arrays):
    rows = len(arrays[0])
    sizes = np.zeros(rows, np.int64)
    for array in arrays:
        sizes += array.nbytes // rows
        if array.dtype == object:
            sizes += np.array(string_sizes(array), np.int64).reshape(rows, -1).sum(1)
    return sizes.tolist()


def _merge_key(signature, arrays):
    """What requests must have in common to be merged; None if a request must run alone."""
    if not signature.mergeable or any(array.ndim == 0 for array in arrays):
        return None
    if len({len(array) for array in arrays}) != 1 or len(arrays[0]) == 0:
        return None
    return signature, *((array.dtype, array.shape[1:]) for array in arrays)


def _run_members(signature, members):
    """The outputs of each member, or its exception."""
    if len(members) > 1:
        rows = [member.rows for member in members]
        try:
            merged = {
                name: np.concatenate([member.inputs[name] for member in members])
                for name in signature.dtypes
            }
            outputs = signature.run(merged)
            aligned = _is_batch(outputs, sum(rows))  # else nobody knows whose values are whose
        except Exception:  # one by one below, where each member gets its own error
            aligned = False
        if aligned:
            ends = np.cumsum(rows)[:-1]
            return list(zip(*[np.split(output, ends) for output in outputs], strict=True))
    return [_run_member(signature, member) for member in members]


def _run_member(signature, member):
    try:
        return signature.run(member.inputs)
    except Exception as error:
        return error


def _is_batch(arrays, rows):
    """Whether each output has one value a row."""
    return all(array.ndim > 0 and len(array) == rows for array in arrays)

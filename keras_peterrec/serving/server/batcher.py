"""Requests that wait together are run together."""

import asyncio
import time
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np

from keras_peterrec.serving.server.errors import UNAVAILABLE, ServingError, invalid
from keras_peterrec.serving.server.signature import check_batch

# No longer than Python lets a thread keep others waiting anyway.
_SHORT_SECONDS = 0.005
_FULL = "The batch scheduling queue to which this task was submitted is full"


class Batcher:
    """Runs signatures on a few threads, merging what waits for the same one.

    A request that finds a free thread is run at once, with those that the event loop
    read in the same turn: nothing waits for a batch to fill. When a thread frees, it takes
    all that meanwhile came for one signature, up to `max_rows`. Requests are merged only
    if their arrays agree in type and in all dimensions but the first. Where a merged run
    fails its members are run one by one, so that a bad request fails alone.

    A client that is alone is answered in the loop itself, without the way to a thread and
    back, where its run is known to be short.

    It belongs to one event loop; only runs happen on its threads.

    Args:
        workers: int. Runs at a time.
        max_rows: int. Rows of a merged run.
        max_request_rows: int. Rows of one request.
        max_waiting: int. Requests that may wait; more are refused.
        observe: callable (signature, requests, rows, seconds), called for each run.
            Defaults to `None`.

    Example:

    >>> batcher = Batcher(workers=2, max_rows=256, max_request_rows=1024, max_waiting=1000)
    >>> outputs = await batcher.run(signature, {"history": array})
    """

    def __init__(self, workers, max_rows, max_request_rows, max_waiting, observe=None):
        self.workers = workers
        self.max_rows = max_rows
        self.max_request_rows = max_request_rows
        self.max_waiting = max_waiting
        self.waiting = 0
        self._observe = observe or (lambda *_: None)
        self._busy = 0
        self._lone_seconds = WeakKeyDictionary()  # signature: what a run of one row took last
        self._starting = False
        self._queues = OrderedDict()  # what can be merged: its members, longest waiting first
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="run")

    async def run(self, signature, inputs, alone=False):
        """The answers of `signature` to `inputs`.

        Args:
            signature: Signature.
            inputs: dict from name to array; see `Signature.check`.
            alone: bool. Whether nobody else is expected to ask meanwhile. Defaults to `False`.

        Returns:
            list of arrays.

        Raises:
            ServingError: too many rows, or too many requests wait.
            Exception: what the graph raises.
        """
        arrays = list(inputs.values())
        rows = len(arrays[0]) if arrays and arrays[0].ndim else 1
        if rows > self.max_request_rows:
            raise invalid(
                "Task size ", rows, " is larger than maximum input batch size ",
                self.max_request_rows,
            )  # fmt: skip
        if alone and rows == 1 and not self._busy and not self._queues:
            if self._lone_seconds.get(signature, _SHORT_SECONDS) < _SHORT_SECONDS:
                return self._run_here(signature, inputs)
        if self.waiting >= self.max_waiting:
            raise ServingError(UNAVAILABLE, _FULL)
        future = asyncio.get_running_loop().create_future()
        key = _merge_key(signature, arrays) or (signature, id(future))
        member = inputs, rows, future
        self._queues.setdefault(key, deque()).append(member)
        self.waiting += 1
        self._start_soon()
        try:
            return await future
        except asyncio.CancelledError:
            self._forget(key, member)
            raise

    def close(self):
        """Ends the threads once they have finished."""
        self._pool.shutdown(wait=True)

    def _run_here(self, signature, inputs):
        start = time.perf_counter()
        try:
            return signature.run(inputs)
        finally:
            self._ran(signature, 1, 1, time.perf_counter() - start)

    def _ran(self, signature, requests, rows, seconds):
        if rows == 1:
            self._lone_seconds[signature] = seconds
        self._observe(signature, requests, rows, seconds)

    def _forget(self, key, member):
        """Takes out what nobody waits for any more, so that it fills no place."""
        queue = self._queues.get(key, ())
        for place, other in enumerate(queue):
            if other is member:
                del queue[place]
                self.waiting -= 1
                break
        if key in self._queues and not queue:
            del self._queues[key]

    def _start_soon(self):
        # Not at once: clients that were answered together ask together, and the first of
        # them would be run alone while the others wait for it.
        if not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self):
        self._starting = False
        while self._busy < self.workers and self._queues:
            key, queue = next(iter(self._queues.items()))
            members = self._take(queue)
            if queue:
                self._queues.move_to_end(key)  # others are not starved
            else:
                del self._queues[key]
            if members:
                self._busy += 1
                loop = asyncio.get_running_loop()
                self._pool.submit(self._work, loop, key[0], members)

    def _take(self, queue):
        members, rows = [], 0
        while queue and (not members or rows + queue[0][1] <= self.max_rows):
            member = queue.popleft()
            self.waiting -= 1
            if not member[2].cancelled():  # its client has gone
                members.append(member)
                rows += member[1]
        return members

    def _work(self, loop, signature, members):
        start = time.perf_counter()
        answers = _answers(signature, members)
        seconds = time.perf_counter() - start
        loop.call_soon_threadsafe(self._finish, signature, members, answers, seconds)

    def _finish(self, signature, members, answers, seconds):
        self._busy -= 1
        self._start_soon()
        self._ran(signature, len(members), sum(rows for _, rows, _ in members), seconds)
        for (_, _, future), answer in zip(members, answers, strict=True):
            if future.cancelled():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _merge_key(signature, arrays):
    """What requests must share to be merged; None for what is run alone."""
    if not signature.mergeable or any(array.ndim == 0 for array in arrays):
        return None
    if len({len(array) for array in arrays}) != 1 or len(arrays[0]) == 0:
        return None
    return signature, *((array.dtype, array.shape[1:]) for array in arrays)


def _answers(signature, members):
    if len(members) > 1:
        sizes = [rows for _, rows, _ in members]
        try:
            merged = {
                name: np.concatenate([inputs[name] for inputs, _, _ in members])
                for name in signature.dtypes
            }
            outputs = signature.run(merged)
            check_batch(outputs, sum(sizes))
        except Exception:  # whoever is to blame is told below
            pass
        else:
            ends = np.cumsum(sizes)[:-1]
            return list(zip(*[np.split(output, ends) for output in outputs], strict=True))
    return [_attempt(signature, inputs) for inputs, _, _ in members]


def _attempt(signature, inputs):
    try:
        return signature.run(inputs)
    except Exception as error:
        return error

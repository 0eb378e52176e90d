"""Requests that wait together are run together."""

import asyncio
import time
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from keras_peterrec.serving.server.batch_limits import check_rows
from keras_peterrec.serving.server.byte_budget import ByteBudget
from keras_peterrec.serving.server.errors import UNAVAILABLE, ServingError
from keras_peterrec.serving.server.row_parts import row_parts, size_of
from keras_peterrec.serving.server.signature import is_batch

# No longer than Python lets a thread keep others waiting anyway.
_SHORT_SECONDS = 0.005
_FULL = "The batch scheduling queue to which this task was submitted is full"


class _Member(NamedTuple):
    inputs: dict
    rows: int
    size: int
    future: asyncio.Future


class Batcher:
    """Runs signatures on a few threads, merging what waits for the same one.

    A request that finds a free thread is run at once, with those that the event loop
    read in the same turn: nothing waits for a batch to fill. When a thread frees, it takes
    all that meanwhile came for one signature, up to the limits of a run. Requests are merged
    only if their arrays agree in type and in all dimensions but the first. Where a merged run
    fails its members are run one by one, so that a bad request fails alone. A request beyond
    the limits of a run is run in parts, one after the other.

    A client that is alone is answered in the loop itself, without the way to a thread and
    back, where its run is known to be short: the last one of about as many bytes was, and
    the signature is one that takes as long for as many.

    It belongs to one event loop; only runs happen on its threads.

    Args:
        workers: int. Runs at a time.
        limits: BatchLimits.
        observe: callable (signature, requests, rows, seconds), called for each run.
            Defaults to `None`.

    Example:

    >>> batcher = Batcher(2, BatchLimits(rows=256))
    >>> outputs = await batcher.run(signature, {"history": array})
    """

    def __init__(self, workers, limits, observe=None):
        self.workers = workers
        self.limits = limits
        self.waiting = 0
        self._budget = ByteBudget(limits.waiting_bytes, _FULL)
        self._observe = observe or (lambda *_: None)
        self._busy = 0
        # signature: what a run of one row took last, by the binary digits of its size.
        self._lone_seconds = WeakKeyDictionary()
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
            ServingError: too many rows, or too much waits.
            Exception: what the graph raises.
        """
        arrays = list(inputs.values())
        check_rows([array.shape for array in arrays], self.limits.request_rows)
        size = size_of(arrays)
        rows = len(arrays[0]) if arrays and arrays[0].ndim else 1
        if alone and rows == 1 and not self._busy and not self._queues:
            if self._is_short(signature, size):
                return self._run_here(signature, inputs, size)
        with self._budget.share() as hold:
            hold(size)
            if rows > self.limits.rows or size > self.limits.run_bytes:
                if rows > 1 and _merge_key(signature, arrays):
                    answer = await self._run_parts(signature, inputs)
                    if answer is not None:
                        return answer
            return await self._enqueue(signature, inputs, rows, size)

    async def _run_parts(self, signature, inputs):
        """The answers of all parts; None where they cannot be put together."""
        answers, shapes = [], set()
        for part in row_parts(inputs, self.limits.rows, self.limits.run_bytes):
            arrays = list(part.values())
            outputs = await self._enqueue(signature, part, len(arrays[0]), size_of(arrays))
            answers.append(outputs)
            shapes.add(tuple(output.shape[1:] for output in outputs))
            if len(shapes) > 1 or not is_batch(outputs, len(arrays[0])):
                return None
        return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]

    async def _enqueue(self, signature, inputs, rows, size):
        if self.waiting >= self.limits.waiting:
            raise ServingError(UNAVAILABLE, _FULL)
        future = asyncio.get_running_loop().create_future()
        key = _merge_key(signature, list(inputs.values())) or (signature, id(future))
        member = _Member(inputs, rows, size, future)
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

    def _is_short(self, signature, size):
        known = self._lone_seconds.get(signature, {})
        seconds = known.get(size.bit_length(), _SHORT_SECONDS)
        return signature.steady and seconds < _SHORT_SECONDS

    def _run_here(self, signature, inputs, size):
        start = time.perf_counter()
        try:
            return signature.run(inputs)
        finally:
            self._ran(signature, 1, 1, size, time.perf_counter() - start)

    def _ran(self, signature, requests, rows, size, seconds):
        if rows == 1:
            self._lone_seconds.setdefault(signature, {})[size.bit_length()] = seconds
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
        members, rows, size = [], 0, 0
        while queue:
            rows, size = rows + queue[0].rows, size + queue[0].size
            if members and (rows > self.limits.rows or size > self.limits.run_bytes):
                break
            member = queue.popleft()
            self.waiting -= 1
            if member.future.cancelled():  # its client has gone
                rows, size = rows - member.rows, size - member.size
            else:
                members.append(member)
        return members

    def _work(self, loop, signature, members):
        start = time.perf_counter()
        answers = _answers(signature, members)
        seconds = time.perf_counter() - start
        loop.call_soon_threadsafe(self._finish, signature, members, answers, seconds)

    def _finish(self, signature, members, answers, seconds):
        self._busy -= 1
        self._start_soon()
        rows, size = (sum(getattr(m, name) for m in members) for name in ("rows", "size"))
        self._ran(signature, len(members), rows, size, seconds)
        for member, answer in zip(members, answers, strict=True):
            if member.future.cancelled():
                continue
            if isinstance(answer, BaseException):
                member.future.set_exception(answer)
            else:
                member.future.set_result(answer)


def _merge_key(signature, arrays):
    """What requests must share to be merged; None for what is run alone."""
    if not signature.mergeable or any(array.ndim == 0 for array in arrays):
        return None
    if len({len(array) for array in arrays}) != 1 or len(arrays[0]) == 0:
        return None
    return signature, *((array.dtype, array.shape[1:]) for array in arrays)


def _answers(signature, members):
    if len(members) > 1:
        sizes = [member.rows for member in members]
        try:
            merged = {
                name: np.concatenate([member.inputs[name] for member in members])
                for name in signature.dtypes
            }
            outputs = signature.run(merged)
            aligned = is_batch(outputs, sum(sizes))
        except Exception:  # whoever is to blame is told below
            aligned = False
        if aligned:
            ends = np.cumsum(sizes)[:-1]
            return list(zip(*[np.split(output, ends) for output in outputs], strict=True))
    return [_attempt(signature, member.inputs) for member in members]


def _attempt(signature, inputs):
    try:
        return signature.run(inputs)
    except Exception as error:
        return error

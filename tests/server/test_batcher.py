"""Requests that run together get the answers that each would get alone."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import predict

from keras_peterrec.server.batcher import Batcher, _size_of, split_rows
from keras_peterrec.server.errors import ServingError
from keras_peterrec.settings.serve import ServeSettings


class Gate:
    """A signature that waits until it is opened, notes its batches, and fails on -1."""

    def __init__(self, mergeable=True):
        self.mergeable = mergeable
        self.dtypes = {"x": 1}
        self.outputs = {"y": 1}
        self.open = threading.Event()
        self.batches = []

    def run(self, inputs):
        assert self.open.wait(30)
        self.batches.append(inputs["x"].shape)
        if (inputs["x"] == -1).any():
            raise ValueError("-1")
        return [inputs["x"] * 2]


def make_batcher(workers=1, **limits):
    return Batcher(ServeSettings(model_base_path="not read", workers=workers, **limits))


def gather(signature, arrays, max_rows=8, max_waiting=1000, cancel=(), **limits):
    """What each request gets; all of them are sent while the first one runs."""

    async def work():
        batcher = make_batcher(max_batch_rows=max_rows, max_waiting=max_waiting, **limits)
        tasks = []
        for n, array in enumerate(arrays):
            tasks.append(asyncio.create_task(batcher.run(signature, {"x": np.array(array)})))
            await asyncio.sleep(0.01 if n == 0 else 0)
        await asyncio.sleep(0.01)
        for n in cancel:
            tasks[n].cancel()
        signature.open.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert batcher.waiting == batcher._budget.held == 0
        batcher.close()
        return answers

    return asyncio.run(work())


def test_requests_that_wait_run_together():
    gate = Gate()
    answers = gather(gate, [[0.0], [1.0], [2.0, 3.0], [4.0], [5.0] * 5, [[6.0]], [7.0]])
    assert [a[0].tolist() for a in answers] == [
        [0],
        [2],
        [4, 6],
        [8],
        [10] * 5,
        [[12]],
        [14],
    ]
    # The first found a free worker; then up to 8 rows; another rank is another batch.
    assert gate.batches == [(1,), (4,), (1, 1), (6,)]


def test_requests_of_one_turn_of_the_loop_run_together():
    gate = Gate()
    gate.open.set()

    async def work():
        batcher = make_batcher(workers=2, max_batch_rows=8)
        runs = [batcher.run(gate, {"x": np.array([float(n)])}) for n in range(5)]
        answers = await asyncio.gather(*runs)
        batcher.close()
        return [answer[0].tolist() for answer in answers]

    assert asyncio.run(work()) == [[0], [2], [4], [6], [8]]
    assert gate.batches == [(5,)]  # none ran alone, though two threads were free


def test_a_bad_request_fails_alone():
    answers = gather(Gate(), [[0.0], [1.0], [-1.0], [2.0, -1.0], [3.0]])
    assert [isinstance(a, ValueError) for a in answers] == [False, False, True, True, False]
    assert answers[4][0].tolist() == [6]


def test_requests_without_a_batch_run_alone():
    gate = Gate(mergeable=False)
    gather(gate, [[0.0], [1.0], [2.0]])
    assert gate.batches == [(1,)] * 3
    gate = Gate()
    answers = gather(gate, [[0.0], 1.0, 2.0, [], []])
    assert answers[2][0] == 4 and answers[4][0].shape == (0,)


def test_outputs_without_a_value_for_each_row():
    gate = Gate()
    gate.run = lambda inputs: gate.open.wait(30) and [np.sum(inputs["x"])]
    assert [a[0] for a in gather(gate, [[0.0], [1.0], [2.0], [1.0] * 20])] == [0, 1, 2, 20]


def test_too_many_requests_wait():
    answers = gather(Gate(), [[float(n)] for n in range(6)], max_waiting=3)
    codes = [a.http if isinstance(a, ServingError) else 200 for a in answers]
    assert codes == [200] * 4 + [503] * 2


def test_too_many_bytes_wait():
    large = [[1.0] * 9000]  # 72,000 bytes
    answers = gather(Gate(), [[0.0], large, large, large, large, [0.0]], max_waiting_bytes=150_000)
    codes = [a.http if isinstance(a, ServingError) else 200 for a in answers]
    assert codes == [200] * 3 + [503] * 2 + [200]
    (answer,) = gather(Gate(), [large], max_waiting_bytes=10)  # it is the only one
    assert answer[0].shape == (1, 9000)


def test_a_run_has_a_limit_of_bytes():
    gate = Gate()
    answers = gather(gate, [[0.0], [1.0], [2.0], [3.0, 4.0]], max_batch_bytes=20)
    assert [len(a[0]) for a in answers] == [1, 1, 1, 2]
    assert gate.batches == [(1,), (2,), (2,)]


def test_a_large_request_runs_in_parts():
    gate = Gate()
    answers = gather(gate, [list(range(20)), [-1.0] * 9, [7.0] * 9])
    assert answers[0][0].tolist() == [2 * n for n in range(20)]
    assert isinstance(answers[1], ValueError) and answers[2][0].tolist() == [14.0] * 9
    assert max(gate.batches) == (8,)
    gate = Gate()  # `[5, 2]` of 16 bytes a row
    answers = gather(gate, [np.arange(10.0).reshape(5, 2).tolist()], max_batch_bytes=50)
    assert gate.batches == [(3, 2), (2, 2)]
    assert answers[0][0].tolist() == (2 * np.arange(10.0).reshape(5, 2)).tolist()


def test_parts_count_the_bytes_of_strings():
    texts = [b"a" * size for size in (100, 1, 1, 100, 300, 1, 1, 1)]
    inputs = {"x": np.array(texts, object), "n": np.arange(8)}
    parts = split_rows(inputs, 3, 250)
    assert [part["n"].tolist() for part in parts] == [[0, 1, 2], [3], [4], [5, 6, 7]]
    assert [part["x"].tolist() for part in parts] == [texts[:3], texts[3:4], texts[4:5], texts[5:]]
    assert _size_of(list(inputs.values())) == sum(map(len, texts)) + 2 * 8 * 8


def test_a_cancelled_request_does_not_run():
    gate = Gate()
    answers = gather(gate, [[0.0], [1.0], [2.0]], cancel=[1])
    assert isinstance(answers[1], asyncio.CancelledError)
    assert gate.batches == [(1,), (1,)] and answers[2][0].tolist() == [4]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(-1, 9), min_size=1, max_size=6), min_size=1, max_size=12),
    st.integers(1, 20),
)
def test_any_requests_get_the_answers_that_each_would_get_alone(arrays, max_rows):
    answers = gather(Gate(), [[float(n) for n in row] for row in arrays], max_rows)
    for row, answer in zip(arrays, answers, strict=True):
        if -1 in row:
            assert isinstance(answer, ValueError)
        else:
            assert answer[0].tolist() == [2 * n for n in row]


def test_together_over_rest(export_server):
    histories = [" ".join(f"s{(n * k) % 90}" for k in range(n % 25)) for n in range(60)]
    bodies = [
        {"signature_name": "films", "instances": [history] if n % 7 else [3]}
        for n, history in enumerate(histories)
    ]
    alone = [predict(export_server.port, "peterrec", body) for body in bodies]
    with ThreadPoolExecutor(30) as pool:
        together = list(pool.map(lambda b: predict(export_server.port, "peterrec", b), bodies))
    for n, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert one[0] == other[0] == (200 if n % 7 else 400)
        if n % 7:
            one, other = one[1]["predictions"][0], other[1]["predictions"][0]
            assert one["items"] == other["items"]
            np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-5, atol=1e-5)


def test_bad_neighbours_over_rest(half_server):
    """Some indices are out of range: only the graph can tell."""
    bodies = [{"signature_name": "picky", "instances": [n % 5]} for n in range(60)]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda b: predict(half_server.port, "everything", b), bodies))
    for n, (status, answer) in enumerate(answers):
        if n % 5 < 3:
            assert (status, answer["predictions"]) == (200, [10.0 * (n % 5 + 1)])
        else:
            assert status == 400 and "is not in [0, 3)" in answer["error"]


def test_a_request_of_too_many_rows_is_refused():
    batcher = make_batcher(max_rows=2)
    with pytest.raises(ServingError, match="Task size 3 is larger than maximum"):
        asyncio.run(batcher.run(SimpleNamespace(mergeable=True), {"x": np.zeros(3)}))


def test_a_request_that_nobody_waits_for_leaves_the_queue():
    gate = Gate()

    async def work():
        batcher = make_batcher(max_waiting=1)
        arrays = {"x": np.array([1.0])}
        first = asyncio.create_task(batcher.run(gate, arrays))
        await asyncio.sleep(0.01)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batcher.run(gate, arrays), 0.01)
            assert batcher.waiting == 0
        gate.open.set()
        await first
        batcher.close()

    asyncio.run(work())
    assert gate.batches == [(1,)]

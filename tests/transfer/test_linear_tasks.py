"""Hosts and tasks with a linear part: saved, trained, mixed, combined, and event by event."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_samples import random_table, scores_of
from slow_cases import slow
from task_samples import KINDS, make_host, make_task, scores

from keras_peterrec.errors import InputError
from keras_peterrec.linear.bag import Bag
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.training import compiled_step
from keras_peterrec.training.compiled_step import Weights
from keras_peterrec.transfer.combined_tasks import average_tasks, merge_task, stack_tasks
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.incremental_task import IncrementalTask
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.parameters import parameter_report
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_model import UserPasses

ITEMS = 12
READS = {"history_length": 9, "window": 6}
# Some read more than the network, some less.
BAGS = [Bag(fade=2.0, events=9), Bag(power=0.5, events=20), Bag(events=3), Bag(fade=8.0, power=1.0)]


def with_linear(task, bag=BAGS[0], sparse=False, seed=0):
    """The task with a random linear part."""
    task.model.linear = random_table(ITEMS, len(task.labels), bag=bag, sparse=sparse, seed=seed)
    return task


def make_tasks(host, patch="bottleneck:2", names=None):
    """Tasks of every kind and several widths: dense, sparse and without a linear part."""
    kinds = {**KINDS, "letters": Classification("uvwxyz"), "digits": Classification("0123")}
    tasks = {
        name: make_task(host, kind, patch=patch, seed=seed, **READS)
        for seed, (name, kind) in enumerate(kinds.items())
        if names is None or name in names
    }
    for number, (name, task) in enumerate(tasks.items()):
        if name != "multilabel":
            with_linear(task, BAGS[number % len(BAGS)], name in ("letters", "recommendation"))
    return tasks


def random_histories(rows, length=25, seed=0):
    random = np.random.default_rng(seed)
    histories = random.integers(4, ITEMS + 4, (rows, length))
    for row, count in enumerate(random.integers(0, length + 1, rows)):
        histories[row, : length - count] = 0
    return histories


@pytest.mark.parametrize("sparse", [False, True])
def test_scores_are_those_of_the_head_and_of_the_linear_part(any_host, sparse, histories):
    task = make_task(any_host)
    before = scores(task, histories)
    with_linear(task, sparse=sparse)
    linear = [scores_of(task.model.linear.part(), history) for history in histories]
    np.testing.assert_allclose(scores(task, histories), before + linear, atol=1e-5)
    np.testing.assert_allclose(task.model(histories * (histories > 3), training=True), before)


@pytest.mark.parametrize(
    ("causal", "kind", "sparse"),
    [
        *zip([True] * 4, KINDS, [False, True] * 2),
        (False, "regression", False),
        *slow(*zip([False] * 4, KINDS, [False, True] * 2)),
    ],
)
def test_a_bundle_keeps_it(shared_host, causal, kind, sparse, tmp_path, bits):
    any_host = shared_host(causal)
    before = bits(any_host.backbone)
    task = with_linear(make_task(any_host, kind, **READS), BAGS[1], sparse)
    task.save(tmp_path / "task", any_host)
    loaded = Task.load(tmp_path / "task", any_host)
    histories = random_histories(5)
    assert scores(loaded, histories).tobytes() == scores(task, histories).tobytes()
    assert loaded.model.linear.bag == BAGS[1]
    assert loaded.model.events_read == 20 and any_host.history_length(loaded.model) == 20
    assert bits(any_host.backbone) == before
    saved = json.loads((tmp_path / "task" / "task.json").read_text())
    assert saved["linear"]["events"] == 20 and "linear/table" in saved["weights"]
    alone = make_task(any_host, kind)
    alone.save(tmp_path / "alone", any_host)
    assert Task.load(tmp_path / "alone", any_host).model.linear is None


def test_a_bundle_of_other_numbers_is_refused(host, tmp_path):
    with_linear(make_task(host), sparse=True).save(tmp_path / "task", host)
    path = tmp_path / "task" / "weights.npz"
    arrays = dict(np.load(path))
    for name, other, message in (
        ("linear/columns", arrays["linear/columns"].astype("float32"), "as integers"),
        ("linear/table", arrays["linear/table"].astype("int32"), "as floating-point numbers"),
        ("linear/starts", arrays["linear/starts"][1:], "of shape"),
    ):
        np.savez(path, **{**arrays, name: other})
        with pytest.raises(InputError, match=f"should hold '{name}' {message}"):
            Task.load(tmp_path / "task", host)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_host_keeps_it(new_host, sparse, histories, tmp_path):
    host = new_host(tied=False)
    before = host.fingerprint()
    host.pretrainer.linear = random_table(ITEMS, ITEMS, bag=BAGS[1], sparse=sparse)
    assert host.fingerprint() == before  # tasks stand on the network alone
    host.save(tmp_path)
    loaded = Host.load(tmp_path)
    assert loaded.next_item_length == 20 and new_host().next_item_length == 6
    long = random_histories(4)
    found, wanted = (np.asarray(each.next_item_scores(long)) for each in (loaded, host))
    assert found.tobytes() == wanted.tobytes()
    linear = [scores_of(host.pretrainer.linear.part(), history) for history in long]
    host.pretrainer.linear = None
    network = np.asarray(host.pretrainer.next_item_scores(long[:, -6:]))
    np.testing.assert_allclose(wanted, network + linear, atol=1e-5)


@pytest.mark.parametrize("sparse", [False, True])
def test_keras_saves_loads_and_clones_it(new_host, sparse, tmp_path):
    host = new_host()
    task = with_linear(make_task(host), sparse=sparse).model
    host.pretrainer.linear = random_table(ITEMS, ITEMS, sparse=sparse, seed=3)
    histories = random_histories(3)
    for model in (task, host.pretrainer):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        ask = [
            getattr(each, "next_item_scores", each)(histories).numpy() for each in (model, loaded)
        ]
        np.testing.assert_array_equal(*ask)
    twin = keras.models.clone_model(task)
    twin.set_weights(task.get_weights())
    np.testing.assert_array_equal(twin(histories), task(histories))


def test_it_works_in_half_precision(new_host, histories):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        host = new_host()
        task = with_linear(make_task(host))
        host.pretrainer.linear = random_table(ITEMS, ITEMS)
        assert scores(task, histories).dtype == "float32"
        assert np.isfinite(host.next_item_scores(histories)).all()
        assert np.isfinite(host.pretrainer.next_item_scores(histories)).all()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("passes", [True, *slow(False)])
def test_training_does_not_see_it(new_host, passes, monkeypatch):
    """The same weights come out, and the same compiled step is used."""
    monkeypatch.setattr(compiled_step, "_COMPILED", compiled := {})
    histories = random_histories(4, 12)
    x, y = histories, np.arange(4) % 3
    if passes:
        x, y = {"history": histories, "cuts": np.full((4, 1), 11)}, y[:, None]
    found = []
    for linear in (False, True):
        task = make_task(new_host())
        if linear:
            with_linear(task)
            kept = [weight.numpy() for weight in task.model.linear.weights]
        model = UserPasses(task.model) if passes else task.model
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=True)
        moved = Weights(model, model.unused_variables()).values()
        assert (ITEMS, 3) not in {tuple(value.shape) for value in moved}
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
        found.append([weight.numpy() for weight in model.trainable_weights])
        if linear:
            for weight, before in zip(task.model.linear.weights, kept):
                np.testing.assert_array_equal(weight, before)
    for one, other in zip(*found):  # a sum of several threads has no fixed order
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert len(compiled) == 1
    if not passes:  # Keras' own functions run it
        np.testing.assert_allclose(model.predict(x, verbose=0), model(x), atol=1e-5)
        assert np.isfinite(model.evaluate(x, y, verbose=0))


def test_pretraining_does_not_see_it(new_host):
    histories, found = random_histories(4, 12), []
    for linear in (False, True):
        pretrainer = new_host(tied=False).pretrainer
        if linear:
            pretrainer.linear = random_table(ITEMS, ITEMS, sparse=True)
        pretrainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        pretrainer.fit(histories[:, :-1], histories[:, 1:], verbose=0)
        found.append([weight.numpy() for weight in pretrainer.trainable_weights])
    for one, other in zip(*found):  # a sum of several threads has no fixed order
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_report_counts_it_apart(host):
    task = make_task(host)
    before = parameter_report(task.model)
    report = parameter_report(with_linear(task).model)
    assert before["linear"] == 0 and report["linear"] == ITEMS * 3 + 3
    assert report["total"] == before["total"] + report["linear"] == task.model.count_params()
    for part in ("host", "patches", "head", "trainable", "share"):
        assert report[part] == before[part]


@pytest.mark.parametrize(
    ("causal", "bundles"), [(True, True), *slow((True, False), (False, True), (False, False))]
)
def test_mixed_rows_have_their_own_tasks_linear_part(shared_host, causal, bundles, tmp_path):
    any_host = shared_host(causal)
    tasks = make_tasks(any_host)
    mixed = MixedTasks.of_tasks(tasks)
    if bundles:
        for name, task in tasks.items():
            task.save(tmp_path / name, any_host)
        mixed = MixedTasks.load([tmp_path / name for name in tasks], any_host)
    histories = random_histories(18)
    names = [[*tasks][n % len(tasks)] for n in range(len(histories))]
    answers = mixed.scores(histories, names)
    for number, name in enumerate(tasks):
        rows = slice(number, None, len(tasks))
        np.testing.assert_allclose(answers[rows], scores(tasks[name], histories[rows]), atol=1e-5)
    # Three widths that are dense, 1, 3 and 4, are two tables, since 3 rounds up; the sparse ones
    # are one.
    assert len(mixed.linear.tables) == 3
    assert any_host.history_length(mixed) == mixed.linear_events == 500


def test_mixed_tasks_may_all_have_none(host, histories):
    mixed = MixedTasks.of_tasks({"one": make_task(host), "other": make_task(host, seed=1)})
    assert mixed.linear is None and mixed.linear_weights() == {}


@pytest.mark.parametrize(
    "name", ["regression", *slow("letters", "multilabel", "digits", "recommendation")]
)
def test_every_step_answers_as_the_whole_history_would(host, name):
    """Also where the history is longer than what the network or the linear part reads."""
    task = make_tasks(host, names=[name])[name]
    task.model.patched_host.window = None
    task.model.linear = task.model.linear and random_table(
        ITEMS, len(task.labels), bag=Bag(4.0, 0.5, 9), sparse=name == "letters"
    )
    steps = IncrementalTask(task.model)
    history = np.random.default_rng(1).integers(4, ITEMS + 4, (3, 20))
    history[1, ::3] = 1  # unknown items change nothing
    state, step = steps.start(3), tf.function(steps.step)
    assert state.shape[1:] == steps.state_shape
    for length in range(1, history.shape[1] + 1):
        state, answers = step(state, tf.constant(history[:, length - 1], "int32"))
        if length in (1, 10, 20):
            expected = scores(task, history[:, :length])
            np.testing.assert_allclose(np.asarray(answers), expected, atol=1e-4)
            np.testing.assert_allclose(np.asarray(steps.scores(state)), expected, atol=1e-4)
            read = steps.read(history[:, :length])
            np.testing.assert_allclose(np.asarray(read), np.asarray(state), atol=1e-4)
    same, _ = step(state, tf.constant([1, 0, 1], "int32"))
    np.testing.assert_array_equal(same, state)


def test_ids_in_a_state_are_exact(host):
    steps = IncrementalTask(with_linear(make_task(host), Bag(events=3)).model)
    state = steps._ids_as_rows(np.array([[2**24 - 1, 2**24 - 2, 5]]))
    assert np.asarray(state).dtype == "float32"
    memory = np.zeros((1, steps.model.host.state_rows, 8), "float32")
    found = np.asarray(steps._history(np.concatenate([memory, state], axis=1)))
    assert found.tolist() == [[0, 0, 0, 0, 0, 2**24 - 1, 2**24 - 2, 5]]


@settings(max_examples=3, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(4, 15), max_size=9), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_unknown_items_do_no_harm(rows, seed, unknown_tasks):
    random = np.random.default_rng(seed)
    known, found = np.zeros((2, len(rows), 24), int)
    for row, items in enumerate(rows):
        known[row, 24 - len(items) :] = items
        more = np.insert(items, np.sort(random.integers(0, len(items) + 1, 12)), 1).astype(int)
        found[row, 24 - len(more) :] = more
    for task in unknown_tasks.values():
        scores_of_both = task.scores(np.concatenate([found, known]))
        np.testing.assert_allclose(*np.split(scores_of_both, 2), atol=1e-5)


@pytest.fixture(scope="module")
def unknown_tasks():
    return make_tasks(make_host(), names=["recommendation", "regression", "multilabel"])


@pytest.mark.parametrize("sparse", [False, True])
def test_a_merged_task_keeps_it(any_host, sparse):
    task = with_linear(make_task(any_host, patch="lora:2+norm", **READS), sparse=sparse)
    merged, histories = merge_task(task), random_histories(4)
    np.testing.assert_allclose(scores(merged, histories), scores(task, histories), atol=1e-5)
    assert merged.model.linear is not task.model.linear


@pytest.mark.parametrize("sparse", [False, True])
def test_an_average_has_the_mean_of_the_linear_parts(host, sparse):
    tasks = [make_task(host, seed=seed) for seed in range(3)]
    for seed, task in enumerate(tasks[:2]):  # the third has none, which says 0
        with_linear(task, sparse=sparse, seed=seed)
    shares = [0.5, 0.2, 0.3]
    mean, histories = average_tasks(tasks, shares), random_histories(4)
    linear = sum(
        share * np.asarray(task.model.linear(histories)) for share, task in zip(shares, tasks[:2])
    )
    np.testing.assert_allclose(mean.model.linear(histories), linear, atol=1e-5)
    with_linear(tasks[2], BAGS[2])
    with pytest.raises(InputError, match="`tasks` should have linear parts of one bag"):
        average_tasks(tasks)
    assert average_tasks([make_task(host), make_task(host, seed=1)]).model.linear is None


def test_a_stack_keeps_that_of_its_last_task(host):
    first, last = (with_linear(make_task(host, seed=seed), seed=seed) for seed in (0, 1))
    stacked, histories = stack_tasks([first, last]), random_histories(4)
    np.testing.assert_array_equal(stacked.model.linear(histories), last.model.linear(histories))
    assert stack_tasks([first, make_task(host)]).model.linear is None

"""Many tasks over one host: against plain loops, and never seeing one another."""

import keras
import numpy as np
import numpy_reference as reference
import pytest
import tensorflow as tf
from slow_cases import slow
from task_samples import make_host

from keras_peterrec.errors import InputError
from keras_peterrec.keras_internals import stored_variables
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.patches.bottleneck import INSERTIONS, Bottleneck
from keras_peterrec.tasks.heads import LinearHead, RecommenderHead
from keras_peterrec.tasks.target_loss import TargetLoss
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import METHODS, build_task
from keras_peterrec.transfer.task_model import TaskModel, head_model


def answers(model, histories):
    return np.asarray(model(histories))


def train(task, histories, epochs=2, eagerly=True, batch_size=4):
    """A few large steps on made-up answers."""
    recommends = isinstance(task.head, RecommenderHead)
    task.compile(
        keras.optimizers.Adam(0.05),
        loss=TargetLoss()
        if recommends
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=eagerly,
        jit_compile=False,
    )
    made_up = np.arange(len(histories)) % 4 % 3
    made_up = made_up[:, np.newaxis] if recommends else made_up
    batches = tf.data.Dataset.from_tensor_slices((histories, made_up)).batch(batch_size)
    task.fit(batches, epochs=epochs, verbose=0)


@pytest.mark.parametrize(
    ("causal", "insertion"),
    [
        *((True, insertion) for insertion in INSERTIONS),
        (False, "serial"),
        *slow(*((False, insertion) for insertion in INSERTIONS if insertion != "serial")),
    ],
)
def test_is_the_formula(causal, insertion, histories):
    backbone = make_host(causal, dilations=(1, 4)).backbone  # of two blocks
    task = TaskModel(backbone, RecommenderHead(5), Bottleneck(3, insertion))
    for seed, weight in enumerate(task.task_weights().values()):
        weight.assign(np.random.default_rng(seed).normal(0, 0.5, weight.shape))
    states, mask, places = reference.task_token(
        reference.embed(histories, reference.numbers(backbone.item_embedding.embeddings)),
        reference.padding_mask(histories),
        reference.numbers(task.task_token.token),
        backbone.causal,
    )
    for block in backbone.blocks:
        states = reference.residual_block(
            states,
            mask,
            reference.block_weights(block),
            block.dilation_rate,
            backbone.causal,
            insertion,
            [reference.patch_weights(patch) for patch in task.patches[block.name].values()],
        )
    users = reference.pool(states, places)
    users = reference.layer_norm(users, *reference.final_norm_weights(backbone), epsilon=1e-6)
    expected = users @ reference.numbers(task.head.item_table).T
    np.testing.assert_allclose(answers(task, histories), expected, atol=5e-3, rtol=1e-3)


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_a_fresh_patch_changes_no_bit(any_host, insertion, histories):
    head = RecommenderHead(5)
    plain = TaskModel(any_host.backbone, head)
    patched = TaskModel(any_host.backbone, head, Bottleneck(3, insertion))
    patched.task_token.token.assign(plain.task_token.token)
    assert answers(patched, histories).tobytes() == answers(plain, histories).tobytes()


def test_padding_is_inert(any_new_host, histories):
    task = TaskModel(any_new_host.backbone, RecommenderHead(5), Bottleneck(3))
    reference.randomise(task, 3)
    padded = np.pad(histories, [[0, 0], [9, 0]])
    np.testing.assert_allclose(
        answers(task, padded), answers(task, histories), atol=1e-4, rtol=1e-4
    )


def test_all_tasks_stand_over_one_host_object(host):
    tasks = [build_task(host.backbone, LinearHead(2)) for _ in range(3)]
    assert all(task.host is host.backbone for task in tasks)
    own = [set(map(id, task.task_weights().values())) for task in tasks]
    hosts = set(map(id, host.backbone.weights))
    for n, mine in enumerate(own):
        assert not mine & hosts
        assert not any(mine & other for other in own[n + 1 :])
        assert set(map(id, stored_variables(tasks[n].weights))) == mine | hosts


@pytest.mark.parametrize(
    ("causal", "method"),
    [
        (False, "patch"),
        *slow(
            *((True, method) for method in METHODS),
            *((False, method) for method in METHODS if method != "patch"),
        ),
    ],
)
def test_the_host_keeps_every_bit(shared_host, causal, method, histories, bits):
    """As test_shared_host.py sees of every method on a causal host."""
    backbone = shared_host(causal).backbone
    before, said = bits(backbone), np.asarray(backbone(histories))
    task = build_task(backbone, RecommenderHead(5), method)
    fresh = [weight.numpy() for weight in task.trainable_weights]
    train(task, histories)
    assert bits(backbone) == before
    assert np.asarray(backbone(histories)).tobytes() == said.tobytes()
    moved = [
        not np.array_equal(old, new.numpy())
        for old, new in zip(fresh, task.trainable_weights, strict=True)
    ]
    assert np.mean(moved) > 0.6  # it did train


@pytest.mark.slow  # as test_task_collection.py sees of many tasks, one after the other
@pytest.mark.parametrize("method", METHODS)
def test_training_one_task_changes_no_bit_of_another(host, method, histories):
    watched = build_task(host.backbone, RecommenderHead(5), name="watched")
    reference.randomise(watched.task_token, 1)
    before = answers(watched, histories)
    other = build_task(host.backbone, LinearHead(3), method, name="other")
    assert answers(watched, histories).tobytes() == before.tobytes()
    train(other, histories)
    assert answers(watched, histories).tobytes() == before.tobytes()
    answers(other, histories)
    assert answers(watched, histories).tobytes() == before.tobytes()


def test_a_patch_learns_what_its_task_asks(host, histories):
    keras.utils.set_random_seed(0)
    task = build_task(host.backbone, LinearHead(3))
    train(task, np.tile(histories, (80, 1)), epochs=1, eagerly=False)
    got = answers(task, histories).argmax(axis=1)
    assert got.tolist() == [0, 1, 2, 0]


def test_dropout_is_on_the_users_state_in_training_only(host, histories):
    task = build_task(host.backbone, RecommenderHead(5), dropout=0.5)
    at_rest = answers(task, histories)
    assert answers(task, histories).tobytes() == at_rest.tobytes()
    assert np.abs(np.asarray(task(histories, training=True)) - at_rest).max() > 1e-4


def test_paths_name_every_weight_of_the_task_once():
    host = make_host(dilations=(1, 4))  # of two blocks
    task = build_task(host.backbone, LinearHead(2), patch=Bottleneck(3, "serial_single"))
    assert sorted(task.task_weights()) == sorted(
        ["task_token/token", "head/kernel", "head/bias"]
        + [
            f"patches/block_{n}/activation_2/{name}"
            for n in (1, 2)
            for name in ("down_kernel", "down_bias", "up_kernel", "up_bias")
        ]
    )


@pytest.mark.parametrize("patch", [None, "bottleneck:2"])
def test_the_network_reads_the_window_and_no_more(any_new_host, histories, patch):
    longer = np.concatenate([histories[::-1, ::-1], histories], axis=1)  # zeros lie between as well
    window = histories.shape[1] - 1
    task = TaskModel(any_new_host.backbone, LinearHead(3), patch, history_length=99, window=window)
    reference.randomise(task, 3)
    np.testing.assert_array_equal(task(longer), task(longer[:, -window:]))


@pytest.mark.parametrize(
    "settings, part",
    [
        ({"history_length": 0}, "`history_length` should be a positive integer or None."),
        ({"history_length": "200"}, "Received: `history_length` = '200'"),
        ({"history_length": 9, "window": True}, "`window` should be a positive integer or None."),
    ],
)
def test_a_wrong_number_of_events_is_refused(host, settings, part):
    with pytest.raises(InputError) as info:
        TaskModel(host.backbone, LinearHead(3), **settings)
    assert part in str(info.value)


def test_survives_the_disk(any_new_host, histories, tmp_path):
    task = TaskModel(
        any_new_host.backbone,
        RecommenderHead(5),
        Bottleneck(3, "serial"),
        dropout=0.25,
        name="films",
        history_length=9,
        window=2,
    )
    reference.randomise(task, 3)
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert type(loaded) is TaskModel and type(loaded.host) is ConvolutionNetwork
    assert loaded.host.get_config() == any_new_host.backbone.get_config()
    assert (loaded.patch, loaded.dropout, loaded.name) == (task.patch, 0.25, "films")
    assert loaded.history_settings() == {"history_length": 9, "window": 2}
    assert answers(loaded, histories).tobytes() == answers(task, histories).tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_trainable_survives_the_disk(host, method, tmp_path):
    task = build_task(host.backbone, LinearHead(2), method)
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert [weight.path for weight in loaded.trainable_weights] == [
        weight.path for weight in task.trainable_weights
    ]


@pytest.mark.parametrize("head_class", [LinearHead, RecommenderHead])
def test_a_head_model_says_what_the_whole_task_says(any_host, head_class, histories):
    task = build_task(any_host.backbone, head_class(3), "head", dropout=0.5)
    users = task.user_states(histories)
    np.testing.assert_allclose(head_model(task)(users), task(histories), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(task.head(users), task(histories), rtol=1e-5, atol=1e-5)


def test_a_head_model_trains_the_tasks_head_and_nothing_else(any_host, histories, bits):
    task = build_task(any_host.backbone, LinearHead(3), "head", dropout=0.5)
    states = np.asarray(task.user_states(histories))
    small = head_model(task)
    frozen = bits(any_host.backbone), task.task_token.token.numpy().tobytes()
    before = bits(task.head)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    small.compile(keras.optimizers.Adam(0.1), loss=loss, run_eagerly=True)
    small.fit(states, np.arange(len(states)) % 3, epochs=3, verbose=0)
    assert (bits(any_host.backbone), task.task_token.token.numpy().tobytes()) == frozen
    assert all(old != new for old, new in zip(before, bits(task.head), strict=True))
    # Adam's two moments of kernel and bias, its steps and its rate: no other slot.
    shapes = sorted(tuple(v.shape) for v in small.optimizer.variables)
    assert shapes == sorted([(), (), (8, 3), (8, 3), (3,), (3,)])
    np.testing.assert_allclose(small(states), task(histories), rtol=1e-5, atol=1e-5)


def test_a_head_models_dropout_is_on_the_state(host, histories):
    task = build_task(host.backbone, LinearHead(3), "head", dropout=0.5)
    small, states = head_model(task), task.user_states(histories)
    assert np.abs(np.asarray(small(states, training=True) - small(states))).max() > 1e-4


def test_host_patches_and_head_compute_in_the_precision_that_keras_is_set_to(host, tmp_path):
    host.save(tmp_path / "host")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = Host.load(tmp_path / "host")
        task = build_task(half.backbone, LinearHead(2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert half.fingerprint() == host.fingerprint()
    layers = [half.backbone, half.backbone.blocks[0], half.pretrainer, task, *task.layers]
    layers += task.patched_host.patch_layers
    assert {layer.compute_dtype for layer in layers} == {"bfloat16"}
    assert {weight.dtype for weight in task.weights} == {"float32"}


def test_a_host_of_its_own_precision_gives_it_to_its_patches():
    host = ConvolutionNetwork(16, 8, (1, 4), dtype="mixed_float16")
    task = build_task(host, LinearHead(2, dtype="mixed_float16"))
    layers = [host, task, *task.layers, *task.patched_host.patch_layers]
    assert {layer.compute_dtype for layer in layers} == {"float16"}
    task.compile("adam", loss="mse")
    assert type(task.optimizer).__name__ == "LossScaleOptimizer"  # halves would be lost as zero

"""Annealing, early stopping and resuming, with a scripted validation metric."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.files.finish_request import ask_to_finish
from keras_peterrec.files.weights_file import write_weights
from keras_peterrec.training.callbacks import Validation
from keras_peterrec.training.resumable_training import ResumableTraining

X, Y = np.eye(4, dtype="float32"), np.arange(4, dtype="float32")
BATCH = tf.data.Dataset.from_tensors((X, Y))  # Keras would trace one for each `fit`


def new_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="dense")])
    model.compile(keras.optimizers.Adam(0.1), loss="mse", run_eagerly=True)  # one step an epoch
    return model


def train(
    folder, script, epochs=50, model=None, interrupt_after=None, more=(), start=None, **options
):
    """Fits with `script[epoch]` as the metric; returns model, callback, epochs run."""
    model = model or new_model()
    options = {"mode": "max", "patience": 1, **options}
    training = ResumableTraining(folder, "val_score", **options)
    first = training.restore(model)
    if start is not None and first == 0:
        training.count_start(model, start)
    ran, weights = [], {}

    def measure():
        epoch = first + len(ran)
        ran.append(epoch)
        weights[epoch] = model.get_weights()
        return {"score": script[epoch]}

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == interrupt_after:
                raise KeyboardInterrupt

    callbacks = [Validation(measure), training, Interrupt(), *more]
    epochs = min(epochs, len(script))
    model.fit(BATCH, epochs=epochs, initial_epoch=first, verbose=0, callbacks=callbacks)
    return model, training, ran, weights


def test_drops_the_rate_twice_then_stops_with_the_best_weights(tmp_path):
    # better, better, worse (drop), worse (drop), worse (stop), never run
    rates = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: rates.append(float(model.optimizer.learning_rate))
    )
    model = new_model()
    _, training, ran, weights = train(tmp_path, [1, 2, 1, 1, 1, 9], model=model, more=[record])
    assert ran == [0, 1, 2, 3, 4]
    assert training.stopped and training.state["best_epoch"] == 1
    assert training.state["drops"] == 2
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.03, 0.009])
    for best, now in zip(weights[1], model.get_weights()):
        np.testing.assert_array_equal(best, now)


def test_goes_back_to_the_best_weights_when_the_rate_drops(tmp_path):
    _, _, _, weights = train(tmp_path, [2, 1, 1])
    after_best, after_drop = weights[1], weights[2]
    # Both are one epoch from the weights of epoch 0; the second step is smaller.
    first_step = np.abs(after_best[0] - weights[0][0]).max()
    second_step = np.abs(after_drop[0] - weights[0][0]).max()
    assert 0 < second_step < 0.6 * first_step


@pytest.mark.parametrize(
    ("script", "stopped", "rising"),
    [
        ([1, 2, 3], "epochs", True),
        ([1, 3, 2], "epochs", True),  # a patience of 2 waits for one more
        ([3, 1, 2, 1], "epochs", False),
        ([3, 1, 2, 1, 2], "patience", False),
    ],
)
def test_says_whether_epochs_ran_out_before_it_was_done(tmp_path, script, stopped, rising):
    _, training, ran, _ = train(tmp_path, script, patience=2, drops=1)
    assert len(ran) == len(script)
    assert training.summary(1.0)["stopped"] == stopped
    assert training.still_rising == rising


def test_an_improvement_resets_the_waiting(tmp_path):
    _, training, ran, _ = train(tmp_path, [1, 0, 2, 1, 3, 0, 0, 0], patience=2, drops=0)
    assert ran == [0, 1, 2, 3, 4, 5, 6]
    assert training.state["best_epoch"] == 4


def test_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    script = [1, 2, 1, 3, 1, 1]
    straight, straight_training, _, _ = train(tmp_path / "straight", script)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", script, interrupt_after=2)
    resumed, training, ran, _ = train(tmp_path / "broken", script)
    assert ran[0] == 3
    first_steps = [t.summary(100.0)["seconds"]["first_step"] for t in (straight_training, training)]
    assert 0 < first_steps[0] < first_steps[1] < 100  # of this process, not of the interrupted one
    totals = [t.summary(100.0)["seconds"]["total"] for t in (straight_training, training)]
    assert totals[0] == 100 < totals[1] < 100 + training.state["seconds"]
    without_time = lambda s: {k: v for k, v in s.items() if "seconds" not in k}
    assert without_time(training.state) == without_time(straight_training.state)
    for one, other in zip(straight.get_weights(), resumed.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_start_that_no_epoch_betters_is_what_is_kept(tmp_path):
    model = new_model()
    before = model.get_weights()
    _, training, ran, weights = train(tmp_path, [1, 1, 1, 1], model=model, start=2, drops=2)
    assert ran == [0, 1, 2] and training.stopped
    assert training.summary(1.0)["best_epoch"] == 0
    for kept, now, moved in zip(before, model.get_weights(), weights[0]):
        np.testing.assert_array_equal(kept, now)
        assert not np.array_equal(kept, moved)


def test_the_rate_drops_from_the_start_and_a_better_epoch_replaces_it(tmp_path):
    _, training, ran, weights = train(tmp_path, [1, 3, 1], start=2, drops=1)
    before = new_model().get_weights()
    step, smaller = (np.abs(weights[n][0] - before[0]).max() for n in (0, 1))
    assert 0 < smaller < 0.6 * step  # epoch 1 began at the start again
    assert training.summary(1.0)["best_epoch"] == 2


@pytest.mark.parametrize("after", [0, 1])
def test_a_start_is_remembered_by_a_resumed_run(after, tmp_path):
    script = [1, 1, 1, 9]
    straight, one, _, _ = train(tmp_path / "straight", script, start=2)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", script, start=2, interrupt_after=after)
    resumed, other, ran, _ = train(tmp_path / "broken", script, start=-5)
    assert ran == [*range(after + 1, 3)]
    assert other.summary(1.0)["best_epoch"] == one.summary(1.0)["best_epoch"] == 0
    for weight, again in zip(straight.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(weight, again)


def test_finish_removes_the_state_unless_more_epochs_may_be_asked_for(tmp_path):
    for script, kept in (([1, 2], True), ([2, 1], False)):
        _, training, _, _ = train(tmp_path / "state", script, drops=0)
        assert list((tmp_path / "state").glob("*.weights.npz"))
        training.finish()
        assert (tmp_path / "state").exists() == kept
        shutil.rmtree(tmp_path / "state", ignore_errors=True)


def test_a_training_that_was_not_restored_can_be_summarised(tmp_path):
    model, training = new_model(), ResumableTraining(tmp_path, "loss", "min", patience=1)
    model.fit(BATCH, epochs=2, verbose=0, callbacks=[training])
    assert training.summary(1.0)["epochs"] == 2


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a training that was interrupted, its script, and how it ends undisturbed."""
    folder, script = tmp_path_factory.mktemp("interrupted"), [3, 1, 2]
    straight, wanted, _, _ = train(folder / "straight", script)
    with pytest.raises(KeyboardInterrupt):
        train(folder / "broken", script, interrupt_after=1)
    return folder / "broken", script, straight.get_weights(), wanted.state


def damage(folder, which):
    """Leaves a saved state as a power loss or a bad disk does."""
    files = {"state": folder / "state.json"}
    by_epoch = sorted(folder.glob("*.weights.npz"), key=lambda file: file.stat().st_mtime_ns)
    files["best"], files["last"] = by_epoch[0], by_epoch[-1]
    name, _, how = which.partition(" ")
    if how == "missing":
        files[name].unlink()
    elif how == "other":
        shutil.copy(files["best"], files["last"])
        write_weights(files[name], {"0": np.zeros((2, 2), "float32")})
    else:
        files[name].write_bytes({"empty": b"", "zeros": bytes(900), "list": b"[1]"}[how])


@pytest.mark.parametrize(
    "which",
    ["state empty", "state list", "last zeros", "last other", "best missing"],
)
def test_a_state_that_cannot_be_read_is_begun_anew_with_a_line(
    tmp_path, capsys, which, interrupted
):
    source, script, weights, wanted = interrupted
    broken = shutil.copytree(source, tmp_path / "broken")
    damage(broken, which)
    resumed, training, ran, _ = train(broken, script)
    assert ran == [0, 1, 2]
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and f"{broken}" in line and "begins anew" in line
    assert training.state["path"] == wanted["path"]
    for one, other in zip(weights, resumed.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_weights_that_are_the_best_and_the_last_are_written_once(tmp_path):
    train(tmp_path, [1, 2])
    assert len(list(tmp_path.glob("*.weights.npz"))) == 1
    train(tmp_path, [1, 2, 1])
    assert len(list(tmp_path.glob("*.weights.npz"))) == 2


# After three epochs the metric hardly rises: two of them bring .02 of 4, half a per cent.
RISING = [0, 3, 4, 4.01, 4.02, 4.03, 4.04, 4.05, 4.06, 4.07]


@pytest.mark.parametrize("scale", [1, -1e-3])  # a small loss as well
def test_ends_when_the_gain_no_longer_pays(tmp_path, scale):
    mode = "max" if scale > 0 else "min"
    script = [scale * value for value in RISING]
    _, training, ran, _ = train(tmp_path, script, mode=mode, patience=2, drops=1, least_gain=0.02)
    # Epochs 3 and 4 do not pay: the rate drops at the weights of epoch 4; nor do 5 and 6.
    assert ran == [0, 1, 2, 3, 4, 5, 6]
    assert training.state["drops"] == 1 and training.state["best_epoch"] == 6
    assert training.summary(1.0)["stopped"] == "gain"
    assert training.summary(1.0)["best_path"] == [5, 2]
    assert not training.still_rising


def test_a_smaller_rate_is_judged_by_epochs_of_its_own(tmp_path):
    options = {"patience": 4, "drops": 1, "least_gain": 0.02}
    _, training, ran, _ = train(tmp_path / "a", [0, 3, 4] + 4 * [4.01] + 9 * [4.02], **options)
    assert len(ran) == 11  # four epochs after the third, then four at the smaller rate
    assert training.summary(1.0)["stopped"] == "gain"
    _, training, ran, _ = train(tmp_path / "b", [0, 3, 4] + 7 * [4] + [5, 6, 7], **options)
    assert len(ran) == 13


def test_a_gain_that_pays_goes_on_and_zero_waits_for_the_patience_alone(tmp_path):
    _, training, ran, _ = train(tmp_path / "a", [*range(10)], patience=2, least_gain=0.02)
    assert len(ran) == 10 and training.summary(1.0)["stopped"] == "epochs"
    _, training, ran, _ = train(tmp_path / "b", RISING, patience=2, least_gain=0)
    assert len(ran) == 10 and training.state["drops"] == 0


def test_says_why_the_rate_drops_and_why_it_ends(tmp_path):
    told = []
    tell = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: told.append(training.told))
    training = ResumableTraining(tmp_path, "val_score", "max", 2, drops=1, least_gain=0.02)
    model = new_model()
    script = iter(RISING)
    validation = Validation(lambda: {"score": next(script)})
    model.fit(BATCH, epochs=9, verbose=0, callbacks=[validation, training, tell])
    why = "the last 2 epochs brought 0.5 % of all that was gained"
    assert told[4].startswith(why) and "the learning rate drops to 0.03" in told[4]
    assert told[6].startswith("the last 2 epochs brought 0.5 %") and "ends" in told[6]
    assert not any(told[:4]) and not told[5]


def test_a_resumed_run_remembers_what_was_gained(tmp_path):
    options = {"patience": 2, "drops": 1, "least_gain": 0.02}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, RISING, interrupt_after=3, **options)
    _, training, ran, _ = train(tmp_path, RISING, **options)
    assert ran == [4, 5, 6] and training.summary(1.0)["stopped"] == "gain"


def test_gives_up_where_nothing_is_better_than_the_start(tmp_path):
    options = {"patience": 3, "drops": 1, "gives_up": 2}
    model, training, ran, _ = train(tmp_path / "a", [5, 1, 2, 9], start=5, **options)
    assert ran == [0, 1] and training.state["drops"] == 1
    assert training.summary(1.0)["stopped"] == "start" and training.state["best_epoch"] == -1
    # A better epoch, if only at the smaller rate, is a training like others.
    _, training, ran, _ = train(tmp_path / "b", [4, 6, 5, 5, 5, 9], start=5, **options)
    assert ran == [0, 1, 2, 3, 4] and training.state["best_path"] == [0, 1]
    assert training.summary(1.0)["stopped"] == "patience"


def test_the_end_may_be_asked_for_in_another_folder(tmp_path):
    (tmp_path / "run").mkdir()
    ask_to_finish(tmp_path / "run")
    _, training, ran, _ = train(tmp_path / "run" / "head", [1, 2, 3], asked_in=tmp_path / "run")
    assert ran == [0] and training.summary(1.0)["stopped"] == "finish"

"""Kinds of task that read labels, each against NumPy and scikit-learn."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as sklearn

from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart, LinearScores
from keras_peterrec.log.event_split import PARTS, TEST, TRAIN, VALIDATION
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.tasks.item_filters import ItemFilters
from keras_peterrec.tasks.label_data import HELD
from keras_peterrec.tasks.regression import Regression

COLUMNS = {"classification": "age", "multilabel": "topics", "regression": "spend"}
each_kind = pytest.mark.parametrize("kind", COLUMNS)
WIDTH = 16


@pytest.fixture
def data(kind, source, simulated):
    return get_kind(kind).make_data(source, simulated.labels(COLUMNS[kind]), 20)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    shares = np.exp(z - z.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def losses(kind, outputs, answers):
    """The loss of each row, `[E]`, from the formula."""
    if kind == "classification":
        return -np.log(softmax(outputs)[np.arange(len(answers)), answers])
    if kind == "multilabel":
        p = sigmoid(outputs)
        return -np.mean(answers * np.log(p) + (1 - answers) * np.log(1 - p), axis=1)
    return np.mean((outputs - answers) ** 2, axis=1)


def nats(kind, outputs, answers):
    """How improbable all answers are; a number's around what is said of it, with deviation 1."""
    factor = {"classification": 1, "multilabel": answers.shape[-1], "regression": 0.5}[kind]
    return factor * losses(kind, outputs, answers).sum()


def random_outputs(data, part, scale=1.0):
    random = np.random.default_rng(PARTS.index(part))
    return random.normal(0, scale, (len(data.splits[part]), len(data.kind.labels)))


@each_kind
def test_rows_are_the_users_and_their_answers(kind, data, simulated, source):
    labels = simulated.labels(COLUMNS[kind])
    users = dict(zip(labels.user_ids.tolist(), labels.values.tolist()))
    assert sum(map(len, data.splits.values())) == len(users)
    for part, split in data.splits.items():
        assert (split_users(split.user_ids) == part).all()
        for user, answer, start, stop in zip(
            split.user_ids, split.answers, split.starts, split.stops
        ):
            known = users[user]
            if kind == "classification":
                assert data.kind.labels[answer] == known
            elif kind == "multilabel":
                have = {name for name, one in zip(data.kind.labels, answer) if one}
                assert have == set(known.split("|"))
            else:
                number = data.kind.mean + data.kind.deviation * answer[0]
                assert number == pytest.approx(float(known), abs=1e-4)
            row = source.index([user])[0]
            assert (start, stop) == (source.offsets[row], source.offsets[row + 1])
    assert data.summary()["users"] == len(users)
    assert f"kind='{kind}'" in repr(data)


@each_kind
def test_losses_are_the_formula(kind, data):
    answers, outputs = data.splits[TRAIN].answers, random_outputs(data, TRAIN)
    expected = losses(kind, outputs, answers)
    # Means over labels and halves of squares only change a loss's unit.
    unit = {"classification": 1, "multilabel": len(data.kind.labels), "regression": 0.5}[kind]
    found, gradient = data.losses_and_gradient(outputs, answers)
    np.testing.assert_allclose(found, unit * expected, rtol=1e-6)
    mean = float(data.loss()(answers, outputs.astype("float32")))
    assert mean == pytest.approx(expected.mean(), rel=1e-5)
    # Outputs that are very sure, rightly or wrongly, stay finite.
    assert np.isfinite(data.losses_and_gradient(1e4 * outputs, answers)[0]).all()
    for column in range(outputs.shape[1]):
        moved = np.zeros_like(outputs)
        moved[:, column] = 1e-5
        ends = [data.losses_and_gradient(outputs + s * moved, answers)[0] for s in (1, -1)]
        np.testing.assert_allclose(gradient[:, column], (ends[0] - ends[1]) / 2e-5, atol=1e-6)


def test_hubers_loss_is_linear_for_outliers(source, simulated):
    data = Regression.make_data(source, simulated.labels("spend"), 20)
    errors = np.array([[0.0], [0.5], [-0.5], [3.0], [-10.0]], "float32")
    zeros = np.zeros((5, 1), "float32")
    expected = np.where(abs(errors) <= 1, errors**2 / 2, abs(errors) - 0.5).mean()
    assert float(data.loss("huber")(zeros, errors)) == pytest.approx(expected)
    assert float(data.loss("squared")(zeros, errors)) == pytest.approx((errors**2).mean())


@each_kind
def test_a_new_head_starts_with_the_best_constant(kind, data):
    answers, start = data.splits[TRAIN].answers, data.start()
    if kind == "classification":
        counts = np.bincount(answers, minlength=3) + 0.5
        np.testing.assert_allclose(start, np.log(counts / counts.sum()))
    elif kind == "multilabel":
        shares = (answers.sum(axis=0) + 0.5) / (len(answers) + 1)
        np.testing.assert_allclose(sigmoid(start), shares)
    else:
        np.testing.assert_allclose(start, [0.0])
    head = data.new_head()
    assert data.starts_trained
    np.testing.assert_allclose(head(np.zeros((1, WIDTH), "float32"))[0], start, rtol=1e-6)
    # No constant is much better, for the training users.
    constant = lambda z: losses(kind, np.tile(z, (len(answers), 1)), answers).mean()
    for step in 0.2 * np.random.default_rng(0).normal(size=(20, len(start))):
        assert constant(start + step - step.mean() * (kind == "classification")) > (
            constant(start) - 1e-3
        )


@each_kind
def test_metrics_are_those_of_scikit_learn(kind, data):
    head = data.kind.new_head()
    users = np.random.default_rng(0).normal(size=(len(data.splits[TEST]), WIDTH)).astype("float32")
    head.build(users.shape)
    for weight in head.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    found = data.measure_users(users, head, TEST)
    outputs, y = np.asarray(head(users), "float64"), data.splits[TEST].answers
    if kind == "classification":
        p = softmax(outputs)
        expected = {
            "accuracy": sklearn.accuracy_score(y, p.argmax(axis=1)),
            "macro_f1": sklearn.f1_score(y, p.argmax(axis=1), average="macro"),
            "log_loss": sklearn.log_loss(y, p),
        }
    elif kind == "multilabel":
        p = sigmoid(outputs)
        best = np.argsort(-p, axis=1)
        hits = np.take_along_axis(y, best, axis=1)
        expected = {
            "macro_auc": sklearn.roc_auc_score(y, p, average="macro"),
            "micro_auc": sklearn.roc_auc_score(y, p, average="micro"),
            "map": sklearn.label_ranking_average_precision_score(y, p),
            "precision@1": hits[:, :1].mean(),
            "precision@3": hits[:, :3].mean(),
            "log_loss": losses(kind, outputs, y).mean(),
        }
    else:
        truths = data.kind.mean + data.kind.deviation * y[:, 0].astype("float64")
        guesses = data.kind.mean + data.kind.deviation * outputs[:, 0]
        expected = {
            "rmse": sklearn.root_mean_squared_error(truths, guesses),
            "mae": sklearn.mean_absolute_error(truths, guesses),
            "r2": sklearn.r2_score(truths, guesses),
        }
    assert found == pytest.approx(expected, rel=1e-5)
    assert set(data.kind.shown) <= found.keys() and data.kind.metric.name == data.kind.shown[0]


@each_kind
def test_the_baseline_says_the_same_of_everybody(kind, data):
    train, test = (data.splits[part].answers for part in (TRAIN, TEST))
    found = data.baseline(TEST)
    if kind == "classification":
        shares = np.bincount(train, minlength=3) / len(train)
        name, metric, expected = "majority", "log_loss", -np.mean(np.log(shares[test]))
        assert found["test"]["accuracy"] == pytest.approx(np.mean(test == shares.argmax()))
    elif kind == "multilabel":
        shares = np.tile(train.mean(axis=0), (len(test), 1))
        name, metric, expected = "prior", "log_loss", sklearn.log_loss(test.ravel(), shares.ravel())
        assert found["test"]["macro_auc"] == 0.5
    else:
        name, metric = "mean", "rmse"
        expected = data.kind.deviation * np.sqrt(np.mean(test.astype("float64") ** 2))
        assert found["test"]["r2"] <= 0
    assert found["name"] == name and found["test"][metric] == pytest.approx(expected, rel=1e-5)
    # An untrained head is about as good: it starts there.
    zeros = np.zeros((len(test), WIDTH), "float32")
    untrained = data.measure_users(zeros, data.new_head(), TEST)
    assert untrained[metric] == pytest.approx(found["test"][metric], rel=0.02)


def test_numbers_are_standardised_by_the_training_users(source, simulated):
    data = Regression.make_data(source, simulated.labels("spend"), 20, SplitSettings(seed=3))
    labels = simulated.labels("spend")
    of_train = labels.values.astype(float)[split_users(labels.user_ids, 3) == TRAIN]
    assert data.kind.mean == pytest.approx(of_train.mean())
    assert data.kind.deviation == pytest.approx(of_train.std())
    assert data.splits[TRAIN].answers.mean() == pytest.approx(0, abs=1e-5)
    assert data.splits[TRAIN].answers.std() == pytest.approx(1, abs=1e-5)
    assert data.summary()["mean"] == data.kind.mean
    np.testing.assert_allclose(
        data.kind.values([[0.0], [2.0]]),
        [
            data.kind.mean,
            data.kind.mean + 2 * data.kind.deviation,
        ],
    )


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_unit_of_a_number_changes_nothing_but_the_unit(factor, source, simulated):
    labels = simulated.labels("spend")
    amounts = factor * labels.values.astype(float)
    scaled = Labels.from_columns(labels.user_ids, amounts, "spend")
    one, other = (Regression.make_data(source, found, 20) for found in (labels, scaled))
    np.testing.assert_allclose(one.splits[TEST].answers, other.splits[TEST].answers, atol=1e-4)
    outputs = random_outputs(one, TEST)
    a, b = (data.metrics(outputs, data.splits[TEST].answers) for data in (one, other))
    assert factor * a["rmse"] == pytest.approx(b["rmse"], rel=1e-5)
    assert a["r2"] == pytest.approx(b["r2"], rel=1e-5)


@each_kind
@pytest.mark.parametrize("sureness, signal", [(0.1, 1), (3, 1), (3, 0), (3, -1)])
def test_calibration_is_the_best_share_of_what_was_learnt(kind, data, sureness, signal):
    answers, n = data.splits[VALIDATION].answers, len(data.kind.labels)
    start, head = data.start(), data.new_head()
    truths = np.eye(n)[answers] if kind == "classification" else answers
    random = np.random.default_rng(0)
    users = random.normal(size=(len(answers), WIDTH)).astype("float32")
    users[:, :n] = 0.5 * users[:, :n] + signal * truths
    head.build(users.shape)
    head.kernel.assign(sureness * np.eye(WIDTH, n))
    head.bias.assign(start + 0.2)
    learnt = np.asarray(head(users), "float64")
    weights, served = data.part_weights(users, head), data.measure_sum(users, head)
    assert weights.linear == 0.0
    data.join(SimpleNamespace(head=head), None, weights)
    assert data.measure_users(users, head, VALIDATION) == pytest.approx(dict(served), abs=1e-6)
    moved = np.asarray(head(users), "float64") - start
    scale = float(np.median(moved / (learnt - start)))
    scales = np.geomspace(0.01, 3, 1_000)  # at least 0.01, with which users keep their order
    of_scales = [
        nats(kind, start + a * (learnt - start), answers) + HELD * (a - 1) ** 2 for a in scales
    ]
    assert scale == pytest.approx(scales[np.argmin(of_scales)], rel=0.01)
    if sureness == 0.1:
        assert scale > 1  # not sure enough of itself
    elif signal < 1:
        assert scale < 0.6
    np.testing.assert_allclose(head(users), start + scale * (learnt - start), atol=1e-4)


@each_kind
@pytest.mark.parametrize("knows", ["network", "linear", "both", "nobody"])
def test_both_parts_count_as_far_as_they_know(kind, data, knows):
    """What is joined is no worse than either part alone, and better where each knows a half."""
    many = np.arange(1_500) % len(data.splits[VALIDATION])  # few would say little
    data.splits[VALIDATION] = data.splits[VALIDATION].select(many)
    answers, n = data.splits[VALIDATION].answers, len(data.kind.labels)
    truths = np.eye(n)[answers] if kind == "classification" else answers
    start, random = data.start(), np.random.default_rng(0)

    def outputs(signal):
        noise = random.normal(size=(len(answers), n))
        return start + 0.7 * noise + signal * (truths - truths.mean(axis=0))

    of_network = outputs(2.0 * (knows in ("network", "both"))).astype("float32")
    of_linear = outputs(2.0 * (knows in ("linear", "both")))
    head = data.new_head()
    head.build((None, n))
    head.kernel.assign(np.eye(n))
    head.bias.assign(np.zeros(n))
    model = SimpleNamespace(head=head, linear=None)
    part = LinearPart(Bag(), np.ones((3, n), "float32"), np.asarray(start, "float32") + 1)
    scores = LinearScores(np.eye(len(answers)), of_linear, np.zeros(n))
    weights, served = (f(of_network, head, scores) for f in (data.part_weights, data.measure_sum))
    weight = weights.linear
    data.join(model, part, weights)
    joined = np.asarray(head(of_network), "float64") + weight * (of_linear - start)
    measured = data.metrics(joined, answers)
    assert measured == pytest.approx(dict(served), rel=1e-5)
    found, network, linear, constant = (
        losses(kind, each, answers).mean()
        for each in (joined, of_network, of_linear, start + np.zeros_like(truths))
    )
    assert found <= min(network, linear, constant) + 0.02
    if knows == "both":
        assert found < min(network, linear) - 0.02
    if knows in ("network", "nobody"):
        assert weight < 0.2
    # What is kept is the linear part, moved as far, around the constant answer of the head.
    assert (model.linear is None) == (weight == 0)
    if weight:
        np.testing.assert_allclose(model.linear.bias, np.ones(n), atol=1e-5)
        np.testing.assert_array_equal(model.linear.table, part.table)
        assert model.linear.weight == weight


@each_kind
def test_the_linear_part_beats_the_baseline_and_is_measured_as_a_model(kind, data):
    linear = data.fit_linear(60)
    found, metric = data.measure_linear(linear, TEST), data.kind.metric
    assert metric.is_better(found[metric.name], data.baseline(TEST)["test"][metric.name])
    assert found.keys() == data.baseline(TEST)["test"].keys()
    # A network that says nothing adds nothing.
    head = data.kind.new_head()
    head.build((None, 2))
    head.kernel.assign(np.zeros((2, len(data.kind.labels))))
    users = np.zeros((len(data.splits[TEST]), 2), "float32")
    together = data.measure_users(users, head, TEST, linear=data.linear_scores(linear, TEST))
    assert together == pytest.approx(found, rel=1e-5)


@each_kind
def test_a_kind_is_what_it_was_when_it_is_loaded(kind, data, tmp_path):
    saved = data.kind.save(tmp_path)
    loaded = type(data.kind).load(saved, tmp_path)
    assert repr(loaded) == repr(data.kind) and loaded.labels == data.kind.labels
    assert {file.name for file in tmp_path.iterdir()} == set(data.kind.files)
    scores = random_outputs(data, TEST).astype("float32")
    answers = "values" if kind == "regression" else "probabilities"
    found = getattr(loaded, answers)(scores)
    np.testing.assert_array_equal(found, getattr(data.kind, answers)(scores))
    assert found.dtype == "float32"
    of_kind = {"classification": softmax, "multilabel": sigmoid}
    if kind in of_kind:
        np.testing.assert_allclose(found, of_kind[kind](scores), rtol=1e-5)


@each_kind
def test_answers_of_another_kind_are_one_clear_line(kind, data):
    scores = np.zeros((1, len(data.kind.labels)))
    wrong = "values" if kind != "regression" else "probabilities"
    with pytest.raises(InputError, match=f"`task` should be of the kind .*a {kind} task"):
        getattr(data.kind, wrong)(scores)
    with pytest.raises(InputError, match=f"of the kind recommendation to recommend.*a {kind} t"):
        data.kind.recommend(scores, 5, ItemFilters.of([]))


# Data of other users for a task that is trained.


def some(labels, users):
    chosen = [user in users for user in labels.user_ids]
    return Labels.from_columns(labels.user_ids[chosen], labels.values[chosen], labels.column)


def test_other_users_numbers_are_measured_in_the_units_of_the_task(source, simulated):
    labels = simulated.labels("spend")
    trained = Regression.make_data(source, labels, 20).kind
    others = some(labels, set(sorted(labels.user_ids)[:70]))
    data = Regression.make_data(source, others, 20)
    assert data.kind.mean != trained.mean
    amounts = dict(zip(others.user_ids, others.values.astype(float)))
    data.answer_as(trained)
    assert data.kind is trained
    for split in data.splits.values():
        truths = np.array([amounts[user] for user in split.user_ids])
        np.testing.assert_allclose(
            trained.mean + trained.deviation * split.answers[:, 0], truths, rtol=1e-5
        )
    outputs = random_outputs(data, TEST)
    guesses = trained.mean + trained.deviation * outputs[:, 0]
    truths = [amounts[user] for user in data.splits[TEST].user_ids]
    found = data.metrics(outputs, data.splits[TEST].answers)
    assert found["mae"] == pytest.approx(np.mean(abs(guesses - truths)), rel=1e-5)


@each_kind
def test_data_of_another_kind_or_other_labels_is_refused(kind, data, source, simulated):
    data.answer_as(type(data.kind).load(data.kind.save(None), None))  # the same: nothing changes
    other = "gender" if kind == "classification" else "age"
    if kind == "regression":
        strange = Regression("income")
    else:
        strange = get_kind(kind).make_data(source, simulated.labels(other), 20).kind
    for found in (
        strange,
        Regression("age") if kind != "regression" else get_kind("multilabel")("ab"),
    ):
        with pytest.raises(InputError, match=f"`labels` should have the {found.name} answers"):
            data.answer_as(found)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "2", "three"], "regression", "`x` should be numbers .*regression.*'three'"),
        (["1", "2", "nan"], "regression", "`x` should be finite numbers .*Received: `x` = 'nan'"),
        (["1", "inf", "2"], "regression", "`x` should be finite numbers .*Received: `x` = 'inf'"),
        (["7", "7", "7"], "regression", "`x` should differ among the training users.*7 for each"),
        (["a", "a", "a"], "classification", "`x` should have at least two different labels"),
        (["a", "a", "a"], "multilabel", "`x` should have at least two different labels"),
    ],
)
def test_columns_that_a_kind_cannot_use_are_one_clear_line(values, kind, message, source):
    users = list(source.user_ids)
    labels = Labels.from_columns(users, (values * len(users))[: len(users)], "x")
    with pytest.raises(InputError, match=message) as caught:
        get_kind(kind).make_data(source, labels, 20)
    assert "\n" not in str(caught.value)


@each_kind
def test_too_few_users_are_a_misfit(kind, source, simulated):
    labels = simulated.labels(COLUMNS[kind])
    for settings in (SplitSettings(train_fraction=1e-6), SplitSettings(train_fraction=0.01)):
        if settings.train_fraction == 0.01 and kind != "regression":
            continue
        with pytest.raises(Misfit):  # an experiment leaves such a run out, and goes on
            get_kind(kind).make_data(source, labels, 20, settings)


def test_several_rows_of_a_user_are_several_labels_or_a_mistake(source):
    users = list(source.user_ids)
    labels = Labels.from_columns(users + users, ["a"] * len(users) + ["b"] * len(users), "x")
    data = get_kind("multilabel").make_data(source, labels, 20)
    assert sum(map(len, data.splits.values())) == len(users)
    with pytest.raises(InputError, match="`x` should have one label for each user, unless"):
        get_kind("classification").make_data(source, labels, 20)
    with pytest.raises(InputError, match="`x` should have one label for each user, unless"):
        get_kind("regression").make_data(source, labels, 20)


@each_kind
def test_few_validation_users_hold_the_sum_to_the_linear_part(kind, data):
    """Noise that fits a few users by chance is not believed as it would be without a hold."""
    few = data.splits[VALIDATION].select(np.arange(8))
    data.splits[VALIDATION] = few
    random, n = np.random.default_rng(1), len(data.kind.labels)
    truths = np.eye(n)[few.answers] if kind == "classification" else few.answers
    users = (4 * truths + random.normal(size=truths.shape)).astype("float32")
    head = data.new_head()
    head.build((None, n))
    head.kernel.assign(np.eye(n))
    head.bias.assign(np.zeros(n))
    linear = LinearScores(np.eye(8), random.normal(size=truths.shape), np.zeros(n))
    weights = data.part_weights(users, head, linear)
    assert 0 < weights.network < 0.7  # what fits the eight best is above 1
    assert 0.3 < weights.linear < 1.1


def test_a_network_that_knows_nothing_costs_an_exact_linear_part_next_to_nothing(source, simulated):
    """What somebody spent is the sum of prices, which a regression finds to the cent."""
    data = get_kind("regression").make_data(source, simulated.labels("spend"), 20)
    many = np.arange(1_500) % len(data.splits[VALIDATION])
    data.splits[VALIDATION] = data.splits[VALIDATION].select(many)
    answers, random = data.splits[VALIDATION].answers, np.random.default_rng(0)
    spread, head = answers.std(), data.new_head()
    head.build((None, 1))
    head.kernel.assign([[1.0]])
    head.bias.assign([0.0])
    of_network = random.normal(size=answers.shape).astype("float32")
    error = 1e-3 * random.normal(size=answers.shape)
    linear = LinearScores(np.eye(len(answers)), answers + error * spread, np.zeros(1))
    served = data.measure_sum(of_network, head, linear)
    assert served["rmse"] < 1.05 * data.metrics(linear.all(), answers)["rmse"]


@each_kind
def test_the_regression_is_as_sure_as_validation_users_ask(kind, data):
    linear = data.fit_linear(60)
    middle, answers = data.middle(), data.splits[VALIDATION].answers
    outputs = data._linear_outputs(linear, VALIDATION)
    scale = linear.chosen["scale"]
    of_scales = {
        a: nats(kind, middle + a / scale * (outputs - middle), answers) + HELD * (a - 1) ** 2
        for a in scale * np.geomspace(0.5, 2, 41)
    }
    assert min(of_scales, key=of_scales.get) == pytest.approx(scale, rel=0.04)
    again = data.refit_linear(60, linear.chosen)
    np.testing.assert_allclose(again.bias, linear.bias, atol=2e-3)
    np.testing.assert_allclose(again.table, linear.table, atol=2e-3)


def test_a_part_that_is_none_is_one_clear_line(source, simulated):
    data = get_kind("regression").make_data(source, simulated.labels("spend"), 20)
    message = "`part` should be one of train, validation, test. Received: `part` = 2."
    with pytest.raises(InputError, match=message):
        data.measure(None, 2)

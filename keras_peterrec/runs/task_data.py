"""A task's data out of its settings, a target log or labels; and what a run says of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError, refuse
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.column_names import refuse_reading
from keras_peterrec.log.event_split import TEST, TRAIN, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.prepared.format import is_prepared
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.log.user_fields import UserTable, read_users
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.progress import stage
from keras_peterrec.report.kept_rows import Examples, write_test_rows, write_test_users
from keras_peterrec.settings.transfer import TaskSettings
from keras_peterrec.task_kinds import choose_kind
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.tasks.task_kind import Metric, TaskKind
from keras_peterrec.transfer.host import Host
from keras_peterrec.types import Json, Source

# From where on something is so little that a line says so.
LEAST_KNOWN = 0.1
FEW_ROWS, FEW_TEST_USERS = 50, 30


def open_source(log: Source, **reading: Any) -> Events | PreparedLog:
    """The PreparedLog of a folder of `prepare`; of anything else its Events.

    Args:
        reading: arguments of `load_log`.
    """
    if not isinstance(log, PreparedLog) and not is_prepared(log):
        return load_log(log, **reading)
    log = log if isinstance(log, PreparedLog) else PreparedLog(log)
    what = f"{log.path}, which is read already"
    refuse_reading(what, **{name: reading.get(name) for name in ("events", "weight_column")})
    return log


def known_histories(log: Events, host: Host) -> Events:
    """The histories of a log as a task reads them: the Events of the items that a host knows.

    Raises:
        InputError: it knows none of them.
    """
    source = log.encode(host.vocabulary, known_only=True)
    if not len(source.items):
        raise InputError(
            "`log` should have items that the host knows, such as "
            f"{host.vocabulary.items[0]!r}. Received: {len(log.item_ids)} items, such as "
            f"{log.item_ids[0]!r}, all unknown."
        )
    source.tell(host.fields.of_tasks)
    if source.known_share < LEAST_KNOWN:
        progress.line(
            f"the host knows the items of only {source.known_share:.1%} of the events in "
            f"{log.name}; is it the log, and are these the ids, that the host was pretrained on?"
        )
    return source


def say_what_is_little(data: TaskData) -> None:
    """Says on stderr what looks wrong in a task's answers, and where there are so few of them that
    its numbers tell little.
    """
    for doubt in data.doubts():
        progress.line(doubt)
    rows, test = len(data.splits[TRAIN]), len(set(data.splits[TEST].user_ids))
    if rows < FEW_ROWS:
        progress.line(
            f"the task has {rows} training row{'s' * (rows != 1)}, a handful: expect no more of it "
            "than of its baselines"
        )
    if test < FEW_TEST_USERS:
        progress.line(few_test_users(test))


def few_test_users(users: int) -> str:
    """What to say of metrics that rest on a few users."""
    return (
        f"the test metrics rest on {users} user{'s' * (users != 1)}: see their intervals before "
        "you believe a difference"
    )


def load_answers(settings: TaskSettings) -> Events | Labels:
    """The target Events or the Labels that the settings of a task name."""
    if settings.target is not None:
        how = {"events": settings.target_events, "weight_column": settings.weight_column}
        return load_log(settings.target, **{**settings.reading, **how})
    if isinstance(settings.labels, Labels):
        return settings.labels
    return load_labels(
        settings.labels,
        settings.column,
        settings.columns,
        settings.drop_bad_rows,
        settings.keep_missing_words,
    )


def load_task(
    settings: Any, fields: Sequence[str] | None = None
) -> tuple[Events, Events | Labels, UserTable | None]:
    """The source Events, the answers and the columns of users that the settings of a task name.

    Of a prepared log only the histories of users with answers are read. Where columns say
    something of a user with answers who has no events, the user has an empty history.

    Args:
        settings: TaskSettings with `log`.
        fields: list of str or `None`. Columns that the events carry. Defaults to `None`, none.

    Returns:
        Events, Events or Labels, and UserTable or `None`.
    """
    source = open_source(settings.log, **settings.reading, fields=fields)
    answers = load_answers(settings)
    if isinstance(source, PreparedLog):
        with stage(f"reading {source.path}") as found:
            source = source.log(users=answers.user_ids)
            found(f"{len(source):,} events of the task's {len(source.user_ids):,} users")
    if settings.users is None:
        return source, answers, None
    users = read_users(
        settings.users, settings.user_fields, settings.columns, settings.drop_bad_rows
    )
    answered = set(answers.user_ids.tolist())
    say_of_how_many(users, answered)
    return source.with_users(sorted(answered & users.users())), answers, users


def say_of_how_many(users: UserTable, asked: set[str]) -> None:
    """Says of how few users the columns say something, where it is few.

    Args:
        asked: set of str, the users of a task or a log.

    Raises:
        InputError: of none.
    """
    known = len(users.users() & asked)
    if not known:
        raise InputError(
            f"`users` should have users of the task. Received: none of its {len(asked):,}, such as "
            f"{min(asked)!r}."
        )
    if known < LEAST_KNOWN * len(asked):
        progress.line(f"`users` knows only {known:,} of {len(asked):,} users; are these their ids?")


def with_kind(settings: Any, answers: Events | Labels) -> tuple[Any, TaskKind]:
    """The settings with the name of the task's kind in them; see `choose_kind`."""
    labels = answers if isinstance(answers, Labels) else None
    kind = choose_kind(settings.kind, labels)
    _check_choice(kind, "loss", kind.losses, settings)
    _check_choice(kind, "class_weight", kind.class_weights, settings)
    return settings.replace(kind=kind.name), kind


def fit_linear(data: TaskData, items: int) -> LinearPart | None:
    """The linear part of a task, or `None` if its kind has none.

    Args:
        items: int. Items of the source vocabulary, without special ids.
    """
    with stage("fitting the linear part") as found:
        linear = data.fit_linear(items)
        settings_of_part = {} if linear is None else linear.chosen
        found(", ".join(f"{name} {value:g}" for name, value in settings_of_part.items() if value))
    return linear


def task_result(
    settings: Any,
    data: TaskData,
    fingerprints: Sequence[str],
    measure: Callable[..., Any],
    linear: LinearPart | None = None,
) -> Json:
    """What `metrics.json` says of a task, however it was solved.

    Args:
        fingerprints: list of str, of all that was read.
        measure: Callable of a split and of `sampled`, as `TaskData.measure` after the model.
        linear: LinearPart that is measured alone, as a baseline, or `None`.
    """
    with stage("measuring validation and test users"):
        progress.part("the simplest answer")
        baseline = data.baseline(TEST)
        baselines = [baseline]
        if getattr(settings, "baselines", True):
            baselines += data.more_baselines(TEST)
        if linear is not None and settings.baselines:
            progress.part(f"{data.kind.linear_name}, test users")
            alone = data.measure_linear(linear, TEST, sampled=True)
            baselines.append({"name": data.kind.linear_name, "test": alone, **linear.chosen})
        progress.part("validation users")
        validation = measure(VALIDATION)
        progress.part("test users")
        test = measure(TEST, sampled=True)
        progress.part("intervals")
        # A kind of task of one's own may return a plain dict.
        intervals = test.intervals(settings.seed) if isinstance(test, Measured) else {}
    return {
        "command": settings.command,
        "kind": data.kind.name,
        "decides": data.kind.metric.described(),
        "settings": settings.recorded(),
        "seed": settings.seed,
        "data": {"fingerprint": fingerprints, **data.summary()},
        "metrics": {"validation": validation, "test": test},
        "baseline": baseline,
        "baselines": baselines,
        "intervals": {"test": intervals},
    }


def example_writer(settings: Any, source: Events, vocabulary: Vocabulary) -> Examples:
    """The Examples of a run, with the titles of its logs where these have some."""
    return Examples(source, vocabulary, (settings.log, getattr(settings, "target", None)))


def write_test(
    folder: Path, result: Json, metric: Metric, examples: Examples
) -> dict[str, np.ndarray]:
    """Writes what a run keeps of its test users: to compare runs, and for its report.

    Args:
        folder: path of the run.
        result: dict, as `metrics.json` will hold it.
        metric: Metric that decides.

    Returns:
        dict of arrays; see `write_test_rows`.
    """
    write_test_users(folder, result, metric)
    return write_test_rows(folder, result, metric, examples)


def _check_choice(kind, name, choices, settings):
    """Refuses a setting that a kind of task does not have."""
    value = getattr(settings, name, None)
    if value is None or value in choices:
        return
    allowed = f"one of {', '.join(choices)}" if choices else "left out"
    refuse(name, f"{allowed} for a {kind.name} task", value)

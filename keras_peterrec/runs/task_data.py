"""A task's data out of its settings, a target log or labels; and what a run says of it."""

from keras_peterrec.data.labels import Labels
from keras_peterrec.data.log import Log
from keras_peterrec.data.prepared.format import is_prepared
from keras_peterrec.data.prepared.reading import PreparedLog
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_labels, load_log
from keras_peterrec.data.splits import TEST, VALIDATION
from keras_peterrec.errors import InputError
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.progress import stage
from keras_peterrec.tasks.registry import choose_kind


def open_source(log):
    """The PreparedLog of a folder of `prepare`; of anything else its Log, see `load_source`."""
    if isinstance(log, PreparedLog):
        return log
    return PreparedLog(log) if is_prepared(log) else load_source(log)


def load_source(log):
    """The Log that was given as such, by a name or by a path."""
    if isinstance(log, Log):
        return log
    with stage(f"reading {log}") as found:
        read = load_log(log)
        found(f"{len(read):,} events of {len(read.user_ids):,} users")
    return read


def known_histories(log, host):
    """The histories of a log as a task reads them: the Sequences of the items that a host knows.

    Raises:
        InputError: it knows none of them.
    """
    source = Sequences(log, host.vocabulary, known_only=True)
    if not len(source.items):
        raise InputError(
            "`log` should have items that the host knows. "
            f"Received: {len(log.item_ids)} items, all unknown."
        )
    return source


def load_answers(settings):
    """The target Log or the Labels that the settings of a task name.

    Args:
        settings: TaskSettings.
    """
    if settings.target is not None:
        return load_source(settings.target)
    if isinstance(settings.labels, Labels):
        return settings.labels
    with stage(f"reading {settings.labels}") as found:
        labels = load_labels(settings.labels, settings.column)
        found(f"{settings.column} of {len(labels.user_ids):,} users")
    return labels


def load_task(settings):
    """The source Log and the answers that the settings of a task name.

    Of a prepared log only the histories of users with answers are read.

    Args:
        settings: TaskSettings with `log`.

    Returns:
        Log, and a Log or Labels.
    """
    source, answers = open_source(settings.log), load_answers(settings)
    if isinstance(source, PreparedLog):
        with stage(f"reading {source.path}") as found:
            source = source.log(users=answers.user_ids)
            found(f"{len(source):,} events of the task's {len(source.user_ids):,} users")
    return source, answers


def with_kind(settings, answers):
    """The settings with the name of the task's kind in them; see `choose_kind`."""
    labels = answers if isinstance(answers, Labels) else None
    kind = choose_kind(settings.kind, labels)
    _check_loss(kind, getattr(settings, "loss", None))
    return settings.replace(kind=kind.name), kind


def fit_linear(data, items):
    """The linear part of a task, or `None` if its kind has none.

    Args:
        data: TaskData.
        items: int. Items of the source vocabulary, without special ids.
    """
    with stage("fitting the linear part") as found:
        linear = data.fit_linear(items)
        chosen = {} if linear is None else linear.chosen
        found(", ".join(f"{name} {value:g}" for name, value in chosen.items() if value))
    return linear


def task_result(settings, data, fingerprints, measure, linear=None):
    """What `metrics.json` says of a task, however it was solved.

    Args:
        settings: Settings.
        data: TaskData.
        fingerprints: list of str, of all that was read.
        measure: Callable of a split and of `sampled`, as `TaskData.measure` after the model.
        linear: LinearPart that is measured alone, as a baseline, or `None`.

    Returns:
        dict.
    """
    with stage("measuring validation and test users"):
        baseline = data.baseline(TEST)
        baselines = [baseline]
        if linear is not None and settings.baselines:
            alone = data.measure_linear(linear, TEST, sampled=True)
            baselines.append({"name": data.kind.linear_name, "test": alone, **linear.chosen})
        metrics = {"validation": measure(VALIDATION), "test": measure(TEST, sampled=True)}
        test = metrics["test"]
        # A kind of task of one's own may return a plain dict.
        intervals = test.intervals(settings.seed) if isinstance(test, Measured) else {}
    return {
        "command": settings.command,
        "kind": data.kind.name,
        "settings": settings.recorded(),
        "seed": settings.seed,
        "data": {"fingerprint": fingerprints, **data.summary()},
        "metrics": metrics,
        "baseline": baseline,
        "baselines": baselines,
        "intervals": {"test": intervals},
    }


def _check_loss(kind, loss):
    if loss is None or loss in kind.losses:
        return
    allowed = f"one of {', '.join(kind.losses)}" if kind.losses else "left out"
    raise InputError(
        f"`loss` should be {allowed} for a {kind.name} task. Received: `loss` = {loss!r}."
    )

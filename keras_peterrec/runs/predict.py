"""Asking an export, for some histories or for every user of a log."""

import functools

from keras_peterrec.data.item_commas import comma_hint
from keras_peterrec.progress import line, live_line, stage
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.predict import PredictSettings


class Answers(dict):
    """Answers by task, and what their numbers are: `units` by task; see `ExportedModel.units`."""

    def __init__(self, units):
        super().__init__()
        self.units = units


@takes(PredictSettings)
def predict(settings: PredictSettings) -> dict:
    """Answers of an exported model.

    Returns:
        Answers, a dict `{task: {history: {output: list}}}`; with `log`, a dict of `out`, `users`
        and `columns`.

    Raises:
        InputError: there is no such model or task, or a file cannot be read or written.
    """
    # Imported only here, so that the command line can be read without TensorFlow.
    from keras_peterrec.serving.exported_model import ExportedModel

    if settings.log is not None:
        from keras_peterrec.runs import bulk

        bulk.check_out(settings.out)
    with live_line(f"loading {settings.model} ..."):
        exported = ExportedModel(settings.model)
    if settings.log is not None:
        return _for_log(settings, exported, bulk)
    histories = list(settings.history)
    for history in histories:
        if hint := comma_hint(history):
            line(hint)
    answers = Answers({name: exported.units(name) for name in settings.task})
    for name in settings.task:
        outputs = _ask(settings, exported, name, histories)
        answers[name] = {
            text: {output: values[row].tolist() for output, values in outputs.items()}
            for row, text in enumerate(histories)
        }
    return answers


def _for_log(settings, exported, bulk):
    (name,) = settings.task
    ask = functools.partial(_ask, settings, exported, name)
    ask([])  # an unknown task is told before the log is read
    logs, users = _logs(settings)
    with stage(f"answering for {users:,} users"):
        return bulk.answer_logs(ask, logs, settings.out, name, -(-users // bulk.CHUNK))


def _logs(settings):
    """The log, and how many users it has; of a prepared log a shard at a time is in memory."""
    from keras_peterrec.data import sources

    read = settings.log, settings.columns, settings.events
    if not sources.is_prepared(settings.log):
        log = sources.load_log(*read)
        return [log], len(log.user_ids)
    sources.check_log(*read)
    prepared = sources.PreparedLog(settings.log)
    shards = [shard for shard in range(prepared.shards) if prepared.events_of(shard)]
    return (prepared.log(shards=[shard]) for shard in shards), prepared.users


def _ask(settings, exported, name, histories):
    if not settings.selects:
        return exported.predict(name, histories)
    chosen = settings.allow, settings.deny, settings.k, settings.keep_seen
    return exported.select(name, histories, *chosen)

"""Asking an export, for some histories or for every user of a log."""

import dataclasses
import functools
from collections.abc import Mapping

from keras_peterrec.errors import refuse
from keras_peterrec.log.id_text import comma_hint, known_hint
from keras_peterrec.progress import line, stage
from keras_peterrec.serving.signature_names import EVENTS, KNOWN_EVENTS
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.predict import PredictSettings
from keras_peterrec.types import Json


class Answers(dict):
    """Answers by task, and what their numbers are: `units` by task; see `ExportedModel.units`."""

    def __init__(self, units: Mapping[str, str]) -> None:
        super().__init__()
        self.units = units


@takes(PredictSettings)
def predict(settings: PredictSettings) -> Json:
    """Answers of an exported model.

    Returns:
        Answers, a dict `{task: {history: {output: list}}}`; with `log`, a dict of `out`, `users`,
        `columns`, `events`, `known_events` (how many of them the model knows) and `unknown_users`
        (of whom it knows none).

    Raises:
        InputError: there is no such model or task, or a file cannot be read or written.
    """
    # Imported only here, so that the command line can be read without TensorFlow.
    from keras_peterrec.runs import bulk
    from keras_peterrec.serving.exported_model import ExportedModel

    if settings.log is not None:
        bulk.check_out(settings.out, remote=settings.runner is not None)
    with stage(f"loading {settings.model}", brief=True):
        exported = ExportedModel(settings.model, trust=settings.trust)
    if settings.log is not None:
        return _for_log(settings, exported, bulk)
    histories = list(settings.history)
    answers = Answers({name: exported.units(name) for name in settings.task})
    for name in settings.task:
        outputs = bulk.Question(name, settings.wishes).ask(exported, histories)
        answers[name] = {
            text: {output: values[row].tolist() for output, values in outputs.items()}
            for row, text in enumerate(histories)
        }
    for history, known, events in zip(histories, outputs[KNOWN_EVENTS], outputs[EVENTS]):
        hint = known_hint(history, known, events)
        if hint:
            line(comma_hint(history) or hint)
    return answers


def _for_log(settings, exported, bulk):
    question = bulk.Question(*settings.task, settings.wishes)
    question.ask(exported, [])  # an unknown task is told before the log is read
    tell = _told(settings, exported.user_fields(question.task), question.task)
    question = dataclasses.replace(question, tell=tell)
    done = (_here if settings.runner is None else _on_beam)(settings, exported, question)
    if done["known_events"] < done["events"]:
        line(
            f"the model knows {done['known_events']:,} of {done['events']:,} events; of "
            f"{done['unknown_users']:,} of {done['users']:,} users none, who get the answer of an "
            "empty history"
        )
    return done


def _here(settings, exported, question):
    from keras_peterrec.runs import bulk

    ask = functools.partial(question.ask, exported)
    fields = exported.fields(question.task)
    logs, users = _logs(settings, fields)
    chunks = -(-users // bulk.CHUNK)
    with stage(f"answering for {users:,} users"):
        return bulk.answer_logs(ask, logs, settings.out, question.task, chunks, fields)


def _told(settings, fields, task):
    """A function from users to what histories tell of them last, or `None`."""
    from keras_peterrec.log.user_fields import read_users

    if settings.users is None:
        if len(fields):
            line(
                f"{task} reads {', '.join(fields.names)} of users; without --users nothing is told"
            )
        return None
    if not len(fields):
        refuse("users", f"left out for {task}, which reads no columns of users", settings.users)
    table = read_users(settings.users, fields.names, settings.columns, settings.drop_bad_rows)
    return functools.partial(fields.texts, table)


def _on_beam(settings, exported, question):
    from keras_peterrec.log.prepared.beam import import_beam

    import_beam(settings.runner)  # an optional extra
    from keras_peterrec.log.read_log import Reading
    from keras_peterrec.runs.bulk_beam import answer_on_beam
    from keras_peterrec.serving.export_files import newest_version

    # All workers ask one version, also if a newer one comes meanwhile.
    model = newest_version(settings.model).resolve()
    how = settings.runner, settings.pipeline_options, settings.trust
    fields = exported.fields(question.task)
    reading = Reading(**settings.reading, fields=fields.columns or None)
    with stage(f"answering on {settings.runner}") as found:
        done = answer_on_beam(model, question, settings.log, reading, settings.out, *how, fields)
        found(f"{done['users']:,} users")
    return done


def _logs(settings, fields):
    """The log, and how many users it has; of a prepared log a shard at a time is in memory."""
    from keras_peterrec.log import sources

    if not sources.is_prepared(settings.log):
        log = sources.load_log(settings.log, **settings.reading, fields=fields.columns or None)
        return [log], len(log.user_ids)
    sources.check_log(settings.log, settings.columns, settings.events)
    prepared = sources.PreparedLog(settings.log)
    shards = [shard for shard in range(prepared.shards) if prepared.events_of(shard)]
    return (prepared.log(shards=[shard]) for shard in shards), prepared.user_count

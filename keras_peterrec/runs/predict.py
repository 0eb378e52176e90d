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
    from keras_peterrec.data.sources import load_log

    (name,) = settings.task
    ask = functools.partial(_ask, settings, exported, name)
    ask([])  # an unknown task is told before the log is read
    log = load_log(settings.log, settings.columns, settings.events)
    with stage(f"answering for {len(log.user_ids):,} users"):
        return bulk.answer_log(ask, log, settings.out, name)


def _ask(settings, exported, name, histories):
    if not settings.selects:
        return exported.predict(name, histories)
    chosen = settings.allow, settings.deny, settings.k, settings.keep_seen
    return exported.select(name, histories, *chosen)

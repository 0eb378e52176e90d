"""Asking an export."""

from keras_peterrec.data.item_commas import comma_hint
from keras_peterrec.progress import line, live_line
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
        Answers, a dict `{task: {history: {output: list}}}`.

    Raises:
        InputError: there is no such model or task.
    """
    # Imported only here, so that the command line can be read without TensorFlow.
    from keras_peterrec.serving.exported_model import ExportedModel

    with live_line(f"loading {settings.model} ..."):
        exported = ExportedModel(settings.model)
    histories = list(settings.history)
    for history in histories:
        if hint := comma_hint(history):
            line(hint)
    answers = Answers({name: exported.units(name) for name in settings.task})
    for name in settings.task:
        outputs = exported.predict(name, histories)
        answers[name] = {
            text: {output: values[row].tolist() for output, values in outputs.items()}
            for row, text in enumerate(histories)
        }
    return answers

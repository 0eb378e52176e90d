"""Asking an export."""


def predict(model, history, task=None):
    """Answers of an exported model.

    Args:
        model: path of a version, such as `export/peterrec/1`.
        history: list of str. Item ids separated by spaces, one string a user.
        task: list of str. Signatures to ask. Defaults to `["serving_default"]`,
            the next item of the source.

    Returns:
        dict `{task: {history: {output: list}}}`.

    Raises:
        InputError: there is no such model or task.
    """
    from keras_peterrec.serving.exported_model import ExportedModel

    exported = ExportedModel(model)
    answers = {}
    for name in task or ["serving_default"]:
        outputs = exported.predict(name, history)
        answers[name] = {
            text: {output: values[row].tolist() for output, values in outputs.items()}
            for row, text in enumerate(history)
        }
    return answers

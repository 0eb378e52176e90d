"""Checks of a command's paths before TensorFlow is imported, so that a mistake is told at once.

They look at names, headers and `run.json`, and leave everything else to the command itself.
"""

import os
from typing import Any

from keras_peterrec.files.json_file import read_json
from keras_peterrec.log import sources
from keras_peterrec.log.column_names import as_fields
from keras_peterrec.runs.prepare import check_inputs, check_prepare
from keras_peterrec.runs.run_folder import check_folder


def check_places(settings: Any) -> None:
    """Raises an InputError if a path in a command's settings cannot be used.

    Args:
        settings: Settings. Of its fields `log`, `target`, `labels`, `host` and `out` those are
            checked that are names or paths.
    """
    if settings.command == "prepare":  # its log may be a pattern, and its folder is no run's
        check_prepare(settings)
        return
    if settings.command == "experiment":  # it has several tasks
        if settings.log is not None:
            sources.check_log(settings.log, settings.columns, settings.events)
            for _, path in settings.own_targets():
                sources.check_log(path, settings.columns)
            for column, _ in settings.own_columns():
                sources.check_labels(settings.labels, column, settings.columns)
        return
    given = {name: value for name, value in vars(settings).items() if _is_place(value)}
    asked = lambda name: getattr(settings, name, None)
    columns = asked("columns")
    if asked("runner") is not None and not sources.is_prepared(settings.log):
        check_inputs(settings)  # which may be at `gs://` and elsewhere
    elif "log" in given:
        weight = None if hasattr(settings, "target") else asked("weight_column")
        sources.check_log(given["log"], columns, asked("events"), weight)
    if "target" in given:
        weight = asked("weight_column")
        sources.check_log(given["target"], columns, asked("target_events"), weight)
    if "labels" in given and settings.column:
        sources.check_labels(given["labels"], settings.column, columns)
    if "users" in given and asked("user_fields"):
        for name in as_fields(settings.user_fields):
            sources.check_labels(given["users"], name, columns)
    if "host" in given and "log" in given:  # a task's; a server's host is an address
        read_json(os.path.join(given["host"], "host.json"), "host")
    # Of several workers the chief alone looks at the folder, later: it may be writing there.
    out_is_run = "out" in given and "log" in given and settings.out_is_run
    if out_is_run and "TF_CONFIG" not in os.environ:
        check_folder(given["out"], settings.command)


def _is_place(value):
    several = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(place, (str, os.PathLike)) for place in several)

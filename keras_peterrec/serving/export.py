"""Writes a host and its tasks as one SavedModel."""

import math
import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tensorflow as tf

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import publishing, write_csv, write_text
from keras_peterrec.files.json_file import write_json
from keras_peterrec.log.id_text import written
from keras_peterrec.report.card import model_card
from keras_peterrec.serving.export_checks import check_export
from keras_peterrec.serving.export_files import (
    ADDED,
    BUNDLES,
    CARD,
    DESCRIPTION,
    FORMAT_VERSION,
    ITEMS,
    MIXED_BUNDLES,
    REPORTS,
    asset_hashes,
)
from keras_peterrec.serving.serving_module import ServingModule
from keras_peterrec.serving.signature_names import NEXT_ITEM
from keras_peterrec.serving.warmup import (
    graphs_as_they_are,
    read_warmup,
    replay_warmup,
    sample_rows,
    warmup_requests,
    write_warmup,
)
from keras_peterrec.tensorflow_internals import quiet_tensorflow
from keras_peterrec.transfer.grown_host import save_added
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.presets import is_on_hub
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_bundle import TaskBundle
from keras_peterrec.types import AnyPath, Json

DEFAULT_K = 10  # items in a recommendation


def export(
    host: Host,
    tasks: dict[str, Task],
    out: AnyPath,
    k: int = DEFAULT_K,
    host_path: AnyPath | None = None,
    incremental: bool = False,
    mixed: MixedTasks | None = None,
    reports: Json | None = None,
    titles: Mapping[str, str] | None = None,
    hidden: Collection[str] | None = None,
    added: int = 0,
) -> Json:
    """Writes one SavedModel in which every task shares the host.

    It loads wherever TensorFlow does, without this library; see `ServingModule` for its
    signatures. Each weight is stored once, however many tasks patch the host. A task whose method
    trains a copy of the host brings that copy.

    Copies of the task bundles lie in `assets.extra/tasks`, those of `mixed` in
    `assets.extra/mixed_tasks`, so that a later version can be made from this one; see
    `runs.export`.

    The version directory appears by one rename, after it was loaded back and answered its warm-up
    requests. Until then it is a hidden folder beside it, which TensorFlow Serving ignores. A
    failure leaves nothing behind.

    Args:
        tasks: by name; may be empty. A task answers under its name: letters, digits, `_`, `-` and
            `.`, the first a letter or digit.
        out: a new version directory, such as `export/peterrec/1`.
        k: items of an answer; fewer if there are fewer target items.
        host_path: where `host` was loaded from. The export notes it, so that tasks can be added
            later.
        incremental: whether every task also answers one event at a time, under its name with
            `_step` behind it; see `step_signature`. Needs a causal host.
        mixed: tasks that answer through one signature `mixed`; see `MixedSignature`.
        reports: for each signature (`serving_default` for the host) what is known of its run, of
            `gather`; the model card in `assets.extra/README.md` is made of it. With `None` the card
            lists the signatures alone.
        titles: of items. Recommendations then have an output `titles`.
        hidden: items that may not be shown. They are listed in `assets/hidden_items.txt`, which may
            be changed later: a server reads it when it loads the version. `None` for no such file.
        added: how many of the host's last items the host at `host_path` lacks, since `add_items`
            added them. They are kept beside the SavedModel, so that tasks can be added later.

    Returns:
        dict of `out`, `signatures` (list of str), `bytes` (of the whole directory) and
        `parameters` (each counted once).

    Raises:
        InputError: `out` exists or is not a version number, `k` is not positive, a name cannot
            be used, a task or `incremental` does not fit the host, or an answer is not a finite
            number. Nothing is written then.

    Example:

    >>> host = Host.load("runs/host")
    >>> export(host, {"films": Task.load("runs/films", host)}, "export/peterrec/1")
    """
    out = Path(out)
    check_export(host, tasks, out, k, incremental, mixed)
    with _published(out) as folder:
        # The tables are named after this path, so it has to differ from export to export.
        with tempfile.TemporaryDirectory(prefix="keras_peterrec_") as texts:
            progress.part("tracing signatures")
            served = ServingModule(host, tasks, k, texts, incremental, mixed, titles, hidden)
            # Nobody trains an export, and the gradients of our layers take as long to write as
            # all the rest.
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            progress.part("writing the SavedModel")
            with quiet_tensorflow():
                tf.saved_model.save(served, str(folder), served.functions, options)
        name, signatures = out.resolve().parent.name, list(served.functions)
        progress.part("writing what lies beside it")
        rows = _warmup_rows(host, tasks, mixed, signatures)
        write_warmup(folder, warmup_requests(rows), name)
        _write_bundles(folder / BUNDLES, tasks, host)
        _write_bundles(folder / MIXED_BUNDLES, {} if mixed is None else mixed.sources, host)
        if added:
            save_added(host, added, folder / ADDED)
        if titles is not None:
            rows = ({"item_id": item, "title": title} for item, title in titles.items())
            write_csv(folder / ITEMS, ["item_id", "title"], rows)
        description = {
            **_description(host, tasks, host_path, added),
            "k": k,
            "incremental": incremental,
            "mixed": [] if mixed is None else list(mixed.places_of),
            "keep_seen": _that_keep_seen(host, tasks, mixed),
            "titles": titles is not None,
            "assets": asset_hashes(folder),
        }
        write_json(folder / DESCRIPTION, description)
        write_json(folder / REPORTS, reports or {})
        write_text(folder / CARD, model_card(name, description, reports or {}))
        progress.part("loading it back")
        _replay_warmup(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "out": str(out),
        "signatures": signatures,
        "bytes": size,
        "parameters": sum(math.prod(w.shape) for w in served.weights.values()),
    }


@contextmanager
def _published(out):
    """Yields a hidden folder beside `out` that becomes `out` if all goes well."""
    stack = ExitStack()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = stack.enter_context(publishing(out))
    except OSError as error:
        raise InputError(
            f"`out` should be in a folder that can be written. Received: {str(out)!r}: "
            f"{error.strerror}."
        ) from error
    with stack:
        yield folder


def _description(host, tasks, host_path, added):
    """What `peterrec.json` says of the host and the tasks."""
    fingerprint = host.fingerprint()
    if host_path is not None and not is_on_hub(host_path):  # where it is found again
        host_path = str(Path(host_path).resolve())
    at_path = host.fingerprint(len(host.vocabulary.items) - added) if added else fingerprint
    return {
        "format_version": FORMAT_VERSION,
        "host": fingerprint,
        "host_path": host_path,
        "host_at_path": at_path,
        "added_items": added,
        "max_length": host.max_length,
        "fields": host.fields.to_config(),
        "tasks": {
            name: {
                "kind": task.kind.name,
                "unit": task.kind.unit,
                "user_fields": task.user_fields.to_config(),
                "own_fields": task.model.own_fields.to_config(),
            }
            for name, task in tasks.items()
        },
    }


def _that_keep_seen(host, tasks, mixed):
    """The signatures and mixed tasks that recommend items of the history as well, sorted."""
    kinds = {name: task.kind for name, task in tasks.items()}
    kinds |= {} if mixed is None else dict(zip(mixed.places_of, mixed.kinds))
    names = [name for name, kind in kinds.items() if kind.recommends and kind.keep_seen]
    return sorted([NEXT_ITEM] * host.keep_seen + names)


def _write_bundles(folder, sources, host):
    """Writes the bundle of each Task, or copies that of each path."""
    for name, source in sources.items():
        if isinstance(source, Task):
            source.save(folder / name, host)
            continue
        (folder / name).mkdir(parents=True)
        for file in TaskBundle.read(source).files():
            shutil.copyfile(Path(source) / file, folder / name / file)


def _warmup_rows(host, tasks, mixed, signatures):
    """Rows for each signature: the longest history, a short, an empty and an unknown one."""
    models = [task.model for task in tasks.values()]
    models += [] if mixed is None else [mixed]
    length = max([host.next_item_length, *map(host.history_length, models)])
    items = host.vocabulary.items
    longest = " ".join(written(items[n % len(items)]) for n in range(length))
    histories = [longest, written(items[0]), "", "? ?"]
    mixed_names = [] if mixed is None else list(mixed.places_of)
    return {name: sample_rows(name, histories, mixed_names) for name in signatures}


def _replay_warmup(folder):
    signatures = tf.saved_model.load(str(folder)).signatures
    with graphs_as_they_are():  # `verify_export`, if thorough, optimizes them as a server does
        problems = replay_warmup(signatures, read_warmup(folder))
    for name, problem in problems:
        raise InputError(f"`tasks` should give finite scores. Received: {name!r}, which {problem}.")

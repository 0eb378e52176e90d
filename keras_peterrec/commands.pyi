# Made by tests/write_command_stub.py from the settings: do not edit.

from collections.abc import Sequence
from typing import Any

from keras_peterrec.types import AnyPath, ColumnNames, EventNames, Named, Source

class Command:
    settings: Any
    run: str
    show: str | None
    needs_tensorflow: bool

def imported(name: str) -> Any: ...

COMMANDS: tuple[Command, ...]

def quickstart(
    out: AnyPath = "runs/quickstart",
    data: str = "movielens-100k",
    epochs: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Pretrains, transfers, compares, exports and asks; goes on where it was.

    Where MovieLens cannot be had, the simulated data is taken, and said so.

    Args:
        out: Folder for everything. Defaults to `'runs/quickstart'`.
        data: str. What to run on. Defaults to `'movielens-100k'`.
        epochs: int. At most, of every stage. Defaults to `200`.
        seed: int. Of everything. Defaults to `0`.

    Returns:
        dict of `rows` (the table), `export`, `user` (one user's answers), `data`, `out` and
        `seconds`.
    """

def prepare(
    log: Source,
    out: AnyPath,
    min_count: int = 0,
    weight_column: str | None = None,
    fields: EventNames | None = None,
    split: str = "last",
    shards: int | None = None,
    *,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
    runner: str | None = None,
    pipeline_options: str | None = None,
) -> dict[str, Any]:
    """Sorts a log by user and time, without holding it in memory, and counts its items.

    The folder is read by every command that takes `log`, and by tensorflow-datasets. The same
    call on an interrupted folder goes on; on a finished one it returns what it holds.

    Args:
        log: Log: .csv, .tsv, .jsonl (also .gz) or .parquet, several of them, or a name such as
            movielens-100k/source.
        out: New folder for the prepared log.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        runner: str. Runner of Apache Beam that does the work, such as DirectRunner, FlinkRunner,
            SparkRunner or DataflowRunner (default: this process, without Beam). Defaults to `None`.
        pipeline_options: str. Options of the runner as one text, such as '--direct_num_workers=2'.
            Defaults to `None`.
        min_count: int. Items with fewer training events are left out (default: 0, none). Defaults
            to `0`.
        weight_column: str. Column of numbers from 0 up: how much each event counts in the network's
            loss; metrics and regressions count all alike. Defaults to `None`.
        fields: More columns that the prepared log carries as they are: price,channel (default:
            none). Defaults to `None`.
        split: str. Also count what a split by time (time:2026-09-01) trains on, so that `pretrain
            --split` begins at once; also asked of a finished folder (default: last, which is always
            counted). Defaults to `'last'`.
        shards: int. Files that the users are spread over (default: one for each 8 MB of the log).
            Defaults to `None`.

    Returns:
        dict of `command`, `settings` and `data`: how many events, users and items there are.

    Raises:
        InputError: an argument or the log cannot be used.
    """

def pretrain(
    log: Source,
    out: AnyPath,
    objective: str = "causal",
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 0.002,
    later_rate: float = 0.5,
    weight_column: str | None = None,
    fields: EventNames | None = None,
    times: bool = True,
    items: Source | None = None,
    item_fields: EventNames | None = None,
    min_count: int = 1,
    baselines: bool = True,
    split: str = "last",
    keep_seen: bool | None = None,
    seed: int = 0,
    *,
    hidden_dim: int = 64,
    blocks: int = 8,
    network: str = "convolution",
    max_length: int = 100,
    dropout: float = 0.3,
    unknown_rate: float = 0.1,
    epochs: int = 200,
    least_gain: float = 0.02,
    linear: bool = True,
    final: bool = False,
    finish: bool = False,
    devices: int | str | None = None,
    profile: bool = False,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
    runner: str | None = None,
    pipeline_options: str | None = None,
) -> dict[str, Any]:
    """Pretrains a host on a log, without labels, and saves it as a run folder.

    The last event of every user is kept for the test and the last but one for
    validation, which also says when to stop; `split` may name a moment instead. With
    `final`, a second host is then trained on all events, for as long as was best, and
    saved in place of the measured one, whose metrics are kept. The same call on an
    interrupted folder goes on; on a finished one it returns what was found.

    Args:
        log: Source log: .csv, .tsv, .jsonl (also .gz) or .parquet, several of them, a folder of
            `prepare`, or a name such as movielens-100k/source.
        out: New folder for the host.
        hidden_dim: int. Channels C of the network. Defaults to `64`.
        blocks: int. Blocks of the network. Defaults to `8`.
        network: str. Which network: convolution, or one of your own (see `register_network`).
            Defaults to `'convolution'`.
        max_length: int. Events of a history that it reads. Defaults to `100`.
        dropout: float. On embeddings and branches. Defaults to `0.3`.
        unknown_rate: float. Share of the inputs that are replaced by the unknown item, causal only.
            Defaults to `0.1`.
        epochs: int. At most; early stopping ends nearly all runs before. May be another number
            where a run goes on. Defaults to `200`.
        least_gain: float. Share of all that validation has gained which the last epochs (2 to 4)
            should bring: with less the learning rate drops, or training ends; 0: only where none
            was better. Defaults to `0.02`.
        linear: bool. Whether a regression on the items of the history is added to the network's
            answers. Defaults to `True`.
        final: bool. Train anew on everything after measuring, as long as was best: what ships.
            Defaults to `False`.
        finish: bool. End the training of this folder now, interrupted or running in another
            process: keep the best epoch, measure and save. Defaults to `False`.
        devices: GPUs of this machine to train on (default: 1, or with TF_CONFIG all of each
            machine). Defaults to `None`.
        profile: bool. Profile a few steps with TensorFlow's profiler, for TensorBoard. Defaults to
            `False`.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        runner: str. Runner of Apache Beam that counts, in the shards of a large prepared log, what
            the linear part is fitted to, such as DirectRunner, FlinkRunner, SparkRunner or
            DataflowRunner (default: this process, without Beam). Defaults to `None`.
        pipeline_options: str. Options of the runner as one text, such as '--direct_num_workers=2'.
            Defaults to `None`.
        objective: str. What is learned: the next item (causal) or hidden items (masked). Defaults
            to `'causal'`.
        steps_per_epoch: int. Steps between two validations (default: all events once; of a log that
            streams at most 10,000). Defaults to `None`.
        batch_size: int. Full windows in a batch (default: about 1,000 events). Defaults to `None`.
        learning_rate: float. Of Adam. Defaults to `0.002`.
        later_rate: float. Weights r, r², r³ of the 2nd, 3rd and 4th next item as targets; 0 trains
            on the next item only, as in the paper; causal only. Defaults to `0.5`.
        weight_column: str. Column of numbers from 0 up: how much each event counts in the network's
            loss; metrics and regressions count all alike. Defaults to `None`.
        fields: Columns of the log that the network reads of each event, such as event_type,price:
            categories, or numbers by quantiles. Defaults to `None`.
        times: bool. Whether the network reads the time until the next event or the question.
            Defaults to `True`.
        items: Table with item_id and the columns that `item_fields` names. Defaults to `None`.
        item_fields: Columns of `items`, such as genre,brand: an item's vector is its own plus those
            of its values, several of them as in Drama|War, or of a vector such as [0.1, 0.2].
            Defaults to `None`.
        min_count: int. Items with fewer training events become unknown. Defaults to `1`.
        baselines: bool. Whether regressions (SLIT and EASE) are measured as well. Defaults to
            `True`.
        split: str. Last: each user's last two events are held out, or time:2026-09-01: what comes
            from then on is the test, and the last tenth before is for validation. Defaults to
            `'last'`.
        keep_seen: bool. Recommend items of the history as well (default: where a tenth of what
            training asks for lies in the history). Defaults to `None`.
        seed: int. Of weights, dropout and the order of batches. Defaults to `0`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the log cannot be used.
    """

def refresh(
    host: AnyPath,
    log: Source,
    out: AnyPath,
    items: Source | None = None,
    keep_host_items: bool = False,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_column: str | None = None,
    min_count: int = 1,
    baselines: bool = True,
    split: str = "last",
    seed: int = 0,
    *,
    epochs: int = 200,
    least_gain: float = 0.02,
    linear: bool = True,
    final: bool = False,
    finish: bool = False,
    devices: int | str | None = None,
    profile: bool = False,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
) -> dict[str, Any]:
    """Trains a host further on new events, and saves it as a new run folder.

    Items keep their ids, and new ones come after them; their vectors start at the mean of those of
    the items clicked beside them and of what the columns of an `items` table say. All is then
    trained with a small learning rate, and early stopping counts the start. The network reads the
    histories that the log has: of the new events alone, or better of all.

    The linear part is fitted to the log, anew or held to the host's own, whichever is better on the
    validation events. With `keep_host_items` the vectors of new items alone are trained, so that
    the host's tasks are tasks of the new host, with the same answers.

    Args:
        host: Folder of a pretrain or refresh run.
        log: Log of the new events, or of all events until now.
        out: New folder for the host.
        epochs: int. At most; early stopping ends nearly all runs before. May be another number
            where a run goes on. Defaults to `200`.
        least_gain: float. Share of all that validation has gained which the last epochs (2 to 4)
            should bring: with less the learning rate drops, or training ends; 0: only where none
            was better. Defaults to `0.02`.
        linear: bool. Whether a regression on the items of the history is added to the network's
            answers. Defaults to `True`.
        final: bool. Train anew on everything after measuring, as long as was best: what ships.
            Defaults to `False`.
        finish: bool. End the training of this folder now, interrupted or running in another
            process: keep the best epoch, measure and save. Defaults to `False`.
        devices: GPUs of this machine to train on (default: 1, or with TF_CONFIG all of each
            machine). Defaults to `None`.
        profile: bool. Profile a few steps with TensorFlow's profiler, for TensorBoard. Defaults to
            `False`.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        items: Table with item_id and columns of words or categories: where new items start that few
            items were clicked beside. Defaults to `None`.
        keep_host_items: bool. Train the vectors of new items alone: the host's tasks stay valid,
            bit for bit. Defaults to `False`.
        batch_size: int. Full windows in a batch (default: about 1,000 events). Defaults to `None`.
        learning_rate: float. Of Adam (default: 5e-4; with --keep-host-items 2e-3, as in pretrain).
            Defaults to `None`.
        weight_column: str. Column of numbers from 0 up: how much each event counts in the network's
            loss; metrics and regressions count all alike. Defaults to `None`.
        min_count: int. New items with fewer training events stay unknown. Defaults to `1`.
        baselines: bool. Whether regressions (SLIT and EASE) are measured as well. Defaults to
            `True`.
        split: str. Last: each user's last two events are held out, or time:2026-09-01: what comes
            from then on is the test, and the last tenth before is for validation. Defaults to
            `'last'`.
        seed: int. Of dropout and the order of batches. Defaults to `0`.

    Returns:
        dict, the content of `metrics.json`, with the host as it was among the baselines.

    Raises:
        InputError: an argument, the host or the log cannot be used.
    """

def transfer(
    host: AnyPath,
    log: Source,
    out: AnyPath,
    start: AnyPath | None = None,
    method: str = "patch",
    patch: str | Named | None = None,
    loss: str | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    dropout: float = 0.5,
    hide_rate: float = 0.3,
    baselines: bool = True,
    *,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
    train_fraction: float = 1.0,
    cut_history: bool = True,
    split: str = "users",
    keep_seen: bool | None = None,
    seed: int = 0,
    target: Source | None = None,
    labels: Source | None = None,
    column: str | None = None,
    kind: str | None = None,
    target_events: EventNames | None = None,
    weight_column: str | None = None,
    keep_missing_words: bool = False,
    users: Source | None = None,
    user_fields: EventNames | None = None,
    class_weight: str | None = None,
    epochs: int = 200,
    least_gain: float = 0.02,
    linear: bool = True,
    final: bool = False,
    finish: bool = False,
    devices: int | str | None = None,
    profile: bool = False,
) -> dict[str, Any]:
    """Trains one task on a host and saves its bundle as a run folder.

    Users are split 70/10/20 by a hash of their id; no target event and no label of a validation or
    test user is trained on. `split` may name a moment instead. With `final`, a second model is then
    trained on all users, for as long as was best, and saved in place of the measured one, whose
    metrics are kept. The same call on an interrupted folder goes on; on a finished one it returns
    what was found.

    Args:
        host: Folder of a pretrain run.
        log: Source log with the histories.
        out: New folder for the task bundle.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        train_fraction: float. Share of the training and validation users that is used. Defaults to
            `1.0`.
        cut_history: bool. Whether a history ends before its target event. Defaults to `True`.
        split: str. Users: 70/10/20 by a hash of their ids, or time:2026-09-01: what comes from then
            on is the test, and the last tenth before is for validation. Defaults to `'users'`.
        keep_seen: bool. Recommend items of the history as well (default: where a tenth of what
            training asks for lies in the history). Defaults to `None`.
        seed: int. Of the split and of the training. Defaults to `0`.
        target: Target log: recommend its items. Defaults to `None`.
        labels: Table with user_id and columns of labels: learn one of them. Defaults to `None`.
        column: str. Column of --labels. Defaults to `None`.
        kind: str. Kind of task: recommendation (with --target); classification, multilabel or
            regression (with --labels; default: what the column's values tell). Defaults to `None`.
        target_events: Of --target, keep the rows whose event_type is one of these. Defaults to
            `None`.
        weight_column: str. Column of numbers from 0 up: how much each event of --target counts in
            the network's loss; metrics and regressions count all alike. Defaults to `None`.
        keep_missing_words: bool. Take words for a missing value in --column, such as N/A, none or
            unknown, for labels. Defaults to `False`.
        users: Table with user_id and the columns that `user_fields` names. Defaults to `None`.
        user_fields: Columns of `users`, such as plan,country, that the task reads beside the
            history: categories, or numbers by quantiles. Defaults to `None`.
        class_weight: str. Classification: balanced lets every class count the same in training,
            however rare. More of the rare ones are found, but probabilities are then those of
            equally frequent classes: log-loss gets worse, and they are not calibrated (default:
            every user counts the same). Defaults to `None`.
        epochs: int. At most; early stopping ends nearly all runs before. May be another number
            where a run goes on. Defaults to `200`.
        least_gain: float. Share of all that validation has gained which the last epochs (2 to 4)
            should bring: with less the learning rate drops, or training ends; 0: only where none
            was better. Defaults to `0.02`.
        linear: bool. Whether a regression on the items of the history is added to the network's
            answers. Defaults to `True`.
        final: bool. Train anew on everything after measuring, as long as was best: what ships.
            Defaults to `False`.
        finish: bool. End the training of this folder now, interrupted or running in another
            process: keep the best epoch, measure and save. Defaults to `False`.
        devices: GPUs of this machine to train on (default: 1, or with TF_CONFIG all of each
            machine). Defaults to `None`.
        profile: bool. Profile a few steps with TensorFlow's profiler, for TensorBoard. Defaults to
            `False`.
        start: An earlier run of this task, such as on the host before a refresh: training starts
            with its patch and its head. Defaults to `None`.
        method: str. What is trained. Defaults to `'patch'`.
        patch: How to patch, for the methods patch and random_host: bottleneck, item_lora,
            item_bottleneck, compacter, lora, ia3, scale_shift, bias, norm or tokens, such as
            bottleneck:8,serial or lora:4+norm (default: bottleneck+item_lora:8; the paper's:
            bottleneck). Defaults to `None`.
        loss: str. Recommendation: softmax, bce, sampled or bpr (default: softmax, or bce where a
            history has many targets); regression: squared (default) or huber. Defaults to `None`.
        batch_size: int. Of rows, or of the cuts of histories where these have several (default: by
            the number of training rows). Defaults to `None`.
        learning_rate: float. Of Adam, at the start (default: by the method). Defaults to `None`.
        dropout: float. On the user's state. Defaults to `0.5`.
        hide_rate: float. Share of the events of a history that training hides, others in each
            epoch; but not from the head, which is trained first. Defaults to `0.3`.
        baselines: bool. Whether the regression alone is measured as well. Defaults to `True`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument, the host or the data cannot be used.
    """

def evaluate(
    run: AnyPath,
    host: AnyPath | None = None,
    log: Source | None = None,
    target: Source | None = None,
    labels: Source | None = None,
    target_events: EventNames | None = None,
    column: str | None = None,
    users: Source | None = None,
    out: AnyPath | None = None,
    *,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
) -> dict[str, Any]:
    """Computes the test metrics of a host or a task anew.

    Data that is not named is that of the run itself.

    Args:
        run: Folder of a pretrain, refresh or transfer run.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        host: The task's host, where it was moved. Defaults to `None`.
        log: Another source log. Defaults to `None`.
        target: Another copy of the target log. Defaults to `None`.
        labels: Other labels. Defaults to `None`.
        target_events: Of --target, keep the rows whose event_type is one of these. Defaults to
            `None`.
        column: str. Column of --labels. Defaults to `None`.
        users: Another table of users, for a task that reads one. Defaults to `None`.
        out: New folder for metrics.json. Defaults to `None`.

    Returns:
        dict of `command`, `settings`, `data`, `metrics` and `baselines` that need no fitting.

    Raises:
        InputError: the run or the data cannot be used.
    """

def export(
    host: AnyPath | None = None,
    task: AnyPath | Sequence[AnyPath] = (),
    out: AnyPath | None = None,
    k: int | None = None,
    incremental: bool = False,
    mixed: AnyPath | None = None,
    items: AnyPath | None = None,
    hidden_items: AnyPath | None = None,
    add_items: Source | None = None,
    base: AnyPath | None = None,
    remove_task: Sequence[str] = (),
    check_folder: AnyPath | bool | None = None,
    thorough: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Writes an export of a host and its tasks, writes the next version of one, or checks one.

    With `out`, tasks are named after their folders. From Python, `host` may also be a Host, `task`
    a dict from a name to a Task or a folder, `mixed` MixedTasks, and `items` a dict from item to
    title. With `base`, the earlier tasks are read from their bundles inside the export and the
    host from where it was exported from; nothing is trained. To replace a task, remove it and add
    the new one in one call. With `check_folder` nothing is written.

    Args:
        host: Folder of a pretrain run. Defaults to `None`.
        task: Folders of transfer runs. Defaults to `()`.
        out: New version, such as export/peterrec/1. Defaults to `None`.
        k: int. Items in a recommendation (default: 10, or those of --base). Defaults to `None`.
        incremental: bool. Let every task take single events as well, as NAME_step. Defaults to
            `False`.
        mixed: Put the other patch tasks in this folder behind one signature, mixed. Defaults to
            `None`.
        items: CSV with item_id and title: recommendations then have titles as well. Defaults to
            `None`.
        hidden_items: Text file of items that may not be shown, one a line; the export's copy,
            assets/hidden_items.txt, may be changed later. Defaults to `None`.
        add_items: Table with item_id and columns of words, of items that the host knows and new
            ones: the new ones get vectors from their columns, without training. Defaults to `None`.
        base: A published export, such as export/peterrec: write its next version, with each --task
            besides and without each --remove-task. Defaults to `None`.
        remove_task: tuple. Tasks of --base to leave out. Defaults to `()`.
        check_folder: Write nothing; say what is wrong with a version for TensorFlow Serving.
            Without DIR, with --out or --base: say it of what was written. Defaults to `None`.
        thorough: bool. With --check: also ask a process with TensorFlow alone, and every signature
            in TensorFlow's C loader as a server optimizes its graph; several times as long.
            Defaults to `False`.
        trust: bool. With --check: run a model that may do more than compute, such as read and write
            files. Defaults to `False`.

    Returns:
        dict; see `keras_peterrec.serving.export.export`. Of a check, also of one after writing
        (`check_folder=True`): `path`, `checks` (names of those that ran) and `problems` (list of
        str).

    Raises:
        InputError: a folder cannot be used, two tasks have one name, the tasks in `mixed` are of
            several patch methods, nothing would change, or the host is not that of `base`.
            Nothing is written then.
    """

def predict(
    model: AnyPath,
    history: Sequence[str] = (),
    task: Sequence[str] = ("serving_default",),
    log: Source | None = None,
    out: AnyPath | None = None,
    users: Source | None = None,
    allow: str = "",
    deny: str = "",
    k: int = 0,
    keep_seen: bool | None = None,
    trust: bool = False,
    *,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
    runner: str | None = None,
    pipeline_options: str | None = None,
) -> dict[str, Any]:
    """Answers of an exported model.

    Args:
        model: A version, such as export/peterrec/1, or the folder with versions, for the newest.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        runner: str. Runner of Apache Beam that does the work, such as DirectRunner, FlinkRunner,
            SparkRunner or DataflowRunner (default: this process, without Beam). Defaults to `None`.
        pipeline_options: str. Options of the runner as one text, such as '--direct_num_workers=2'.
            Defaults to `None`.
        history: tuple. Item ids separated by spaces, "1193 661 914"; one string for each user.
            Defaults to `()`.
        task: tuple. Names of tasks, or embed (default: serving_default, the next item). Defaults to
            `('serving_default',)`.
        log: In place of --history: a log, to answer for each of its users. Defaults to `None`.
        out: With --log: file for the answers, by its ending .parquet, .csv or .jsonl; with --runner
            several, answers-00000-of-00004.parquet and so on. A spreadsheet takes values in .csv
            that begin with = + - @ for formulas: import them as text. Defaults to `None`.
        users: With --log: table with user_id and the columns of users that the task reads. Defaults
            to `None`.
        allow: str. Recommend only these items, ids separated by spaces. Defaults to `''`.
        deny: str. Recommend none of these items. Defaults to `''`.
        k: int. Items of a recommendation, at most as many as exported (default: all). Defaults to
            `0`.
        keep_seen: bool. Recommend items of the history as well (default: as the task was trained).
            Defaults to `None`.
        trust: bool. Load a model that may do more than compute, such as read and write files.
            Defaults to `False`.

    Returns:
        Answers, a dict `{task: {history: {output: list}}}`; with `log`, a dict of `out`, `users`,
        `columns`, `events`, `known_events` (how many of them the model knows) and `unknown_users`
        (of whom it knows none).

    Raises:
        InputError: there is no such model or task, or a file cannot be read or written.
    """

def inspect(
    path: AnyPath,
    patches: bool = False,
) -> dict[str, Any]:
    """Describes a host, a task bundle, an export or a prepared log, without loading weights.

    What each patch method would cost needs the host's weights, which are loaded then.

    Args:
        path: Its folder.
        patches: bool. What every way to patch a host costs. Defaults to `False`.

    Returns:
        dict of `kind`, `files` (bytes by name) and what the folder's JSON files hold. For a host
        also `tasks`, the task bundles in folders beside it (see `TaskCollection.describe`), and
        `patches` if asked for (see `patch_table`).

    Raises:
        InputError: the folder does not hold any of these.
    """

def report(
    path: AnyPath,
    out: AnyPath | None = None,
    titles: AnyPath | None = None,
) -> dict[str, Any]:
    """Writes one self-contained HTML page about a finished run, or about all below a folder.

    It reads the folders alone: neither the data nor the model is needed.

    Args:
        path: Folder of a pretrain, refresh or transfer run, or a folder of them.
        out: The page (default: report.html in the folder). Defaults to `None`.
        titles: CSV file with item_id and title, for the examples. Defaults to `None`.

    Returns:
        dict of `out`, the page, and `runs`, a list of what the page says of each; see `gather`.

    Raises:
        InputError: there is no finished run, a file of it is damaged, or the page cannot be
            written.
    """

def experiment(
    name: str,
    dataset: str | None = None,
    path: AnyPath | None = None,
    log: Source | None = None,
    target: Sequence[str] | None = None,
    labels: Source | None = None,
    column: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    cut_history: bool = True,
    linear: bool = True,
    seeds: int = 3,
    epochs: int | None = None,
    hidden_dim: int = 64,
    blocks: int = 8,
    max_length: int | None = None,
    shared: AnyPath | None = None,
    out: AnyPath | None = None,
    *,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    drop_bad_rows: bool = False,
) -> dict[str, Any]:
    """Runs one of the experiments; goes on where it was.

    Every seed (0, 1, ...) changes the split, the host and the training. Each run keeps its own
    folder with its `metrics.json`; over all of them `out` holds `metrics.json`, `table.md`,
    `table.csv`, `differences.csv`, plots and, under `logs`, what TensorBoard's HParams shows. More
    seeds or tasks can be asked for later, in the same folder. What does not go with the data (a
    split that 1 % of the labels leave empty) is left out, which the tables say; asked again, it is
    tried again.

    Args:
        name: str. Pretraining: Does pretraining help?; strategies: Patches beside other ways to
            fine-tune; insertions: Where the patches act, with and without a skip of their own; few-
            labels: Patches and full fine-tuning where training users are few; causal-or-masked:
            Hosts pretrained on the next item or on masked items; methods: Ways to patch: quality
            against trained parameters; baselines: Patches beside the linear part alone and a
            network trained on all tasks at once.
        columns: What the files call the columns user_id, item_id, timestamp and event_type, where
            they do not call them that: user_id=userId,timestamp=ts. Defaults to `None`.
        events: Of the log, keep the rows whose event_type is one of these, such as buy,cart
            (default: all rows). Defaults to `None`.
        drop_bad_rows: bool. Leave out rows without an id or a time, with a time far from all
            others, or with more or fewer values than columns, and say how many; otherwise they end
            the command or are named. Defaults to `False`.
        dataset: str. Movielens-100k (default), movielens-1m, simulated, or with --path: amazon,
            peterrec (the paper's own files); left out with --log. Defaults to `None`.
        path: Folder with the files of the dataset. Defaults to `None`.
        log: Your own source log, files or a folder of `prepare`, in place of a dataset. Defaults to
            `None`.
        target: tuple. With --log: target logs, a task each, called after its file. Defaults to
            `None`.
        labels: With --log: table with user_id and columns of labels. Defaults to `None`.
        column: tuple. Columns of --labels, a task each; its kind of task, where the values do not
            tell. Defaults to `None`.
        tasks: tuple. Some of the dataset's tasks (default: all). Defaults to `None`.
        rows: tuple. Some of the experiment's rows (default: all). Defaults to `None`.
        cut_history: bool. Whether histories end before their target event. Defaults to `True`.
        linear: bool. Whether a regression on the items of the history is added to the networks'
            answers. Defaults to `True`.
        seeds: int. How many, each with its own split, host and training. Defaults to `3`.
        epochs: int. At most, of every stage. Defaults to `None`.
        hidden_dim: int. Channels of the hosts. Defaults to `64`.
        blocks: int. Residual blocks of the hosts. Defaults to `8`.
        max_length: int. Events of a history (default: as suits the dataset). Defaults to `None`.
        shared: Folder of hosts and runs, which experiments on one dataset may share (default: OUT).
            Defaults to `None`.
        out: Folder (default: runs/experiments/NAME). Defaults to `None`.

    Returns:
        dict, the content of `metrics.json`. Its `seconds` are those of all runs and hosts, whenever
        they were run.

    Raises:
        InputError: an argument or the data cannot be used, a folder holds another run, or nothing
            can be run.
    """

def serve(
    model_base_path: AnyPath | None = None,
    model_config_file: AnyPath | None = None,
    model_name: str = "peterrec",
    host: str = "127.0.0.1",
    proxy_host: Sequence[str] = (),
    port: int = 8501,
    grpc_port: int = 8500,
    titles: AnyPath | None = None,
    trust: bool = False,
    cors: bool = False,
    monitoring: bool = True,
    poll_seconds: float = 1.0,
    config_poll_seconds: float = 0.0,
    workers: int = 0,
    max_batch_rows: int = 256,
    max_batch_bytes: int = 4194304,
    max_rows: int = 4096,
    max_waiting: int = 1000,
    max_waiting_bytes: int = 268435456,
    max_head_bytes: int = 65536,
    max_body_bytes: int = 4194304,
    max_values: int = 262144,
    max_history_bytes: int = 262144,
    max_connections: int = 1024,
    read_seconds: float = 30.0,
    request_timeout: float = 30.0,
    shutdown_seconds: float = 30.0,
) -> dict[str, Any]:
    """Answers over REST and gRPC as TensorFlow Serving does, until the process is told to end.

    Args:
        model_base_path: Folder with a directory for each version, such as export/peterrec, or one
            version of it. Defaults to `None`.
        model_config_file: TensorFlow Serving's models.config, for several models. Defaults to
            `None`.
        model_name: str. Name of the model in --model-base-path. Defaults to `'peterrec'`.
        host: str. Address to listen on; the default is this machine alone. Defaults to
            `'127.0.0.1'`.
        proxy_host: tuple. Names under which a proxy on this machine asks for its clients. Defaults
            to `()`.
        port: int. Of REST and the page; 0 takes any free one. Defaults to `8501`.
        grpc_port: int. 0 takes any free one, -1 none. Defaults to `8500`.
        titles: CSV with item_id and title, for the page. Defaults to `None`.
        trust: bool. Load models that may do more than compute, such as read and write files.
            Defaults to `False`.
        cors: bool. Let web pages of other origins ask. Defaults to `False`.
        monitoring: bool. Whether metrics are at /monitoring/prometheus/metrics. Defaults to `True`.
        poll_seconds: float. Between looks for new versions; 0 for none. Defaults to `1.0`.
        config_poll_seconds: float. Between looks into --model-config-file; 0 for none. Defaults to
            `0.0`.
        workers: int. Runs at a time; 0 for one a processor. Defaults to `0`.
        max_batch_rows: int. Histories that are run together. Defaults to `256`.
        max_batch_bytes: int. Bytes of histories that are run together. Defaults to `4194304`.
        max_rows: int. Histories of one request. Defaults to `4096`.
        max_waiting: int. Requests that may wait to be run. Defaults to `1000`.
        max_waiting_bytes: int. Bytes of all requests that are not answered yet. Defaults to
            `268435456`.
        max_head_bytes: int. Bytes of a request's line and headers. Defaults to `65536`.
        max_body_bytes: int. Bytes of one request. Defaults to `4194304`.
        max_values: int. Brackets, braces and commas in the JSON of one request. Defaults to
            `262144`.
        max_history_bytes: int. Bytes of one history. Defaults to `262144`.
        max_connections: int. Open at a time. Defaults to `1024`.
        read_seconds: float. For a request's head to arrive, and for its body. Defaults to `30.0`.
        request_timeout: float. For an answer, else 504; waiting counts; 0 for any time. Defaults to
            `30.0`.
        shutdown_seconds: float. For answers after SIGTERM. Defaults to `30.0`.

    Returns:
        dict of `http_port`, `grpc_port` and `requests`.

    Raises:
        InputError: if a setting cannot be used, a package is missing, a port is taken, or a model
            cannot be served.
    """

def benchmark_serve(
    out: AnyPath | None = None,
    model: AnyPath | None = None,
    url: Sequence[str] = (),
    server_option: Sequence[str] = (),
    connections: Sequence[int] = (1, 16, 64),
    seconds: float = 5.0,
    rounds: int = 3,
    items: int = 50000,
    targets: int = 5000,
    hidden_dim: int = 64,
    blocks: int = 8,
    length: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Puts load on a server from a separate process, over loopback, and reports it.

    The server is ours, started for this, unless `url` names others. Each signature that
    answers histories is asked over each number of connections, and called in a process of its
    own without a server: one history a call, and in batches.

    Args:
        out: New folder for the tables, metrics.json and the plot. Defaults to `None`.
        model: An export, such as export/peterrec or export/peterrec/1 (default: a made-up one with
            random weights). Defaults to `None`.
        url: tuple. Model of another server on this machine, http://127.0.0.1:8501/v1/models/NAME,
            to measure in place of ours; --model is then what it serves; may be repeated. Defaults
            to `()`.
        server_option: tuple. Word for our `serve`, such as --server-option=--workers=4; may be
            repeated. Defaults to `()`.
        connections: tuple. Connections at a time; may be repeated (default: 1, 16 and 64). Defaults
            to `(1, 16, 64)`.
        seconds: float. Of a measurement, all its turns together. Defaults to `5.0`.
        rounds: int. Turns of each measurement. Defaults to `3`.
        items: int. Of the made-up model. Defaults to `50000`.
        targets: int. Items that its task recommends. Defaults to `5000`.
        hidden_dim: int. Its channels. Defaults to `64`.
        blocks: int. Its residual blocks. Defaults to `8`.
        length: int. Events of a history. Defaults to `50`.
        seed: int. Of weights and histories. Defaults to `0`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument cannot be used, or a server or model does not answer.
    """

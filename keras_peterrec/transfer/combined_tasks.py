"""New tasks made of trained ones: merged into the host, averaged, stacked."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.network.network import ITEM_EMBEDDING
from keras_peterrec.patches.stack import Stack
from keras_peterrec.transfer.strategies import trained_parts
from keras_peterrec.transfer.task import Task, new_linear, refuse_own_fields
from keras_peterrec.transfer.task_model import TaskModel


def merge_task(task: Task) -> Task:
    """Folds a task's affine patches into a copy of the host: no patch is left to compute.

    The answers are the same within float noise. The merged task has a copy of the host of its
    own, as under `all`; use it where one task is served alone.

    Args:
        task: Task. Of the method `patch` and an affine patch method: LoRA of linear maps or
            items, IA3, scale and shift, bias, norm, or a stack of these.

    Returns:
        Task, method `all`, without a patch.

    Raises:
        InputError: the task has no patch, or one that is not affine.

    Example:

    >>> films = Task.load("runs/films", host)
    >>> merge_task(films)  # of a bottleneck
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `task` should have affine patches ...
    """
    model, patch = task.model, task.model.patch
    refuse_own_fields(model.own_fields, "task")
    if patch is None or not patch.merges(model.host, model.patches):
        raise InputError(
            "`task` should have affine patches of linear maps, normalisations or items: only "
            "these can be merged. "
            f"Received: {'no patch' if patch is None else patch.short_name}."
        )
    host = model.host.copy()
    arguments = {**_arguments(model), **trained_parts("all"), "linear": new_linear(model)}
    merged = TaskModel(host, task.new_head(), None, **arguments)
    for path, weight in merged.task_weights().items():
        weight.assign(model.task_weights()[path])
    for place, patches in model.patches.items():
        for site, patch in patches.items():
            if place == ITEM_EMBEDDING:
                _fold({"embeddings": host.tables[site].embeddings}, patch)
            else:
                _fold(host.foldable(place, site), patch)
    fields = task.user_fields
    return Task(merged, "all", task.kind, task.settings, host=task.host, user_fields=fields)


def average_tasks(tasks: Iterable[Task], weights: Sequence[float] | None = None) -> Task:
    """A task whose weights are the mean of several tasks' on one host.

    Args:
        tasks: list of Task. Of the method `patch`, with the same patch method and the same
            answers, such as runs of several seeds.
        weights: list of float or `None`. The share of each task; they sum to one. Defaults to
            `None`, equal shares.

    Raises:
        InputError: the tasks differ in host, patch or answers, or `weights` do not fit.

    Example:

    >>> mean = average_tasks([films, films])

    Source: Wortsman et al., "Model soups", ICML 2022.
    """
    tasks = list(tasks)
    _check_alike(tasks, lambda task: task.model.patch, "patch method")
    weights = [1 / len(tasks)] * len(tasks) if weights is None else list(weights)
    if len(weights) != len(tasks) or abs(sum(weights) - 1) > 1e-6:
        raise InputError(
            f"`weights` should be {len(tasks)} numbers that sum to one. Received: {weights}."
        )
    _check_alike(tasks, lambda task: task.kind, "kind and labels")
    _check_alike(tasks, lambda task: task.model.history_settings(), "reading of the history")
    _check_alike(tasks, lambda task: task.user_fields, "columns of users")
    _check_alike(tasks, lambda task: task.model.own_fields.to_config(), "fields of events")
    mean = _new_task(tasks, tasks[-1].model.patch)
    named = [task.model.task_weights() for task in tasks]
    for path, weight in mean.model.task_weights().items():
        weight.assign(sum(w * np.asarray(one[path]) for w, one in zip(weights, named)))
    # Not before: the loop above would look for a linear part in each task.
    mean.model.linear = _mean_linear(tasks, weights)
    return mean


def stack_tasks(tasks: Iterable[Task]) -> Task:
    """A task with the patches of several on top of each other.

    The first may have been trained on a large task of the same domain. At each site its patch
    acts first, and the next one changes what it gave. Head, task token and linear part are those
    of the last task. The stacked task can be trained further; that trains all of its patches.

    Args:
        tasks: list of Task. Two or more, of the method `patch` and on one host.

    Raises:
        InputError: the tasks differ in host, or one has no patch.

    Example:

    >>> stack_tasks([films, films]).labels == films.labels
    True

    Source: Pfeiffer et al., "MAD-X", EMNLP 2020, stacks adapters so.
    """
    tasks = list(tasks)
    for task in tasks:
        refuse_own_fields(task.model.own_fields, "tasks")
    patches = [task.model.patch for task in tasks]
    if len(tasks) < 2 or any(patch is None for patch in patches):
        raise InputError(
            "`tasks` should be two or more tasks with patches. "
            f"Received: {', '.join('no patch' if p is None else p.short_name for p in patches)}."
        )
    # A stack is one more link of the chain; its own chains are kept whole.
    stacked = _new_task(tasks, Stack(tuple(patches)), new_linear(tasks[-1].model))
    for path, weight in stacked.model.task_weights().items():
        if not path.startswith("patches/"):
            weight.assign(tasks[-1].model.task_weights()[path])
    for place, sites in stacked.model.patches.items():
        for site, chain in sites.items():
            of_tasks = [task.model.patches[place] for task in tasks]
            sources = [patches[site] for patches in of_tasks if site in patches]
            for layer, source in zip(chain.patches, sources, strict=True):
                for name, weight in layer.named_weights().items():
                    weight.assign(source.named_weights()[name])
    return stacked


def _mean_linear(tasks, weights):
    """The mean of the tasks' linear parts; one that is missing says 0."""
    have = [
        (weight, task.model.linear.part().folded())
        for weight, task in zip(weights, tasks)
        if task.model.linear is not None
    ]
    if not have:
        return None
    features = max((part.features for _, part in have), key=len)
    have = [(weight, part.reading(features)) for weight, part in have]
    first = have[0][1]
    if any(part.bag != first.bag for _, part in have):
        raise InputError(
            "`tasks` should have linear parts of one bag, since the items of a history count "
            f"differently in each. Received: {', '.join(str(part.bag) for _, part in have)}."
        )
    table = sum(np.float32(weight) * part.table for weight, part in have)
    bias = sum(np.float32(weight) * part.bias for weight, part in have)
    return LinearTable.of_part(dataclasses.replace(first, table=table, bias=bias))


def _new_task(tasks, patch, linear=None):
    """An untrained task on the common host of tasks, with the answers of the last."""
    last = tasks[-1]
    for task in tasks:
        if task.method != "patch":
            raise InputError(f"`tasks` should be of the method patch. Received: {task.method}.")
        if task.model.host is not last.model.host:
            raise InputError("`tasks` should be on one host object. Received: several.")
    arguments = {**_arguments(last.model), "linear": linear}
    model = TaskModel(last.model.host, last.new_head(), patch, **arguments)
    return Task(model, "patch", last.kind, last.settings, False, last.host, last.user_fields)


def _arguments(model):
    """The settings of a TaskModel that one like it is made with."""
    of_users = model.user_fields
    if of_users is not None:
        of_users = type(of_users).from_config(of_users.get_config())
    return {
        "dropout": model.dropout,
        "name": model.name,
        "user_fields": of_users,
        "own_fields": model.own_fields,
        **model.history_settings(),
    }


def _check_alike(tasks, read, what):
    if not tasks or any(read(task) != read(tasks[0]) for task in tasks):
        raise InputError(
            f"`tasks` should be one or more with the same {what}. "
            f"Received: {len(tasks)}{' that differ' if tasks else ''}."
        )


def _fold(layer, patch):
    """Folds a patch into the weights of the layer before its site, by name."""
    weights = {name: np.asarray(weight) for name, weight in patch.named_weights().items()}
    before = {name: np.asarray(weight) for name, weight in layer.items()}
    for name, value in patch.fold(weights, before).items():
        layer[name].assign(value)

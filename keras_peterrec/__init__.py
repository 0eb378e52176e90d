"""keras_peterrec: one behaviour log, many small tasks.

    log → vocabulary + sequences → splits → batches → backbone → pretrainer →
    host on disk → task model → task bundle on disk → SavedModel → answer

Names are loaded when they are first used, so that `keras-peterrec --help` does not
wait for TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Log": "data.log",
    "read_log": "data.log",
    "Labels": "data.labels",
    "read_labels": "data.labels",
    "load_log": "data.sources",
    "load_labels": "data.sources",
    "load_titles": "data.sources",
    "MovieLens": "data.sources.movielens",
    "Simulated": "data.sources.simulated",
    "Vocabulary": "data.vocabulary",
    "Sequences": "data.sequences",
    "split_users": "data.splits",
    "causal_batches": "data.packed_batches",
    "masked_batches": "data.packed_batches",
    "task_batches": "data.batches",
    "history_batches": "data.batches",
    "recommendation_examples": "data.task_examples",
    "label_examples": "data.task_examples",
    "Backbone": "models.backbone",
    "CausalPretrainer": "models.causal_pretrainer",
    "MaskedPretrainer": "models.masked_pretrainer",
    "RecommenderHead": "models.recommender_head",
    "ClassifierHead": "models.classifier_head",
    "TargetLoss": "models.target_loss",
    "Bottleneck": "patches.bottleneck",
    "Compacter": "patches.compacter",
    "Lora": "patches.lora",
    "Ia3": "patches.affine_methods",
    "ScaleShift": "patches.affine_methods",
    "BiasTuning": "patches.affine_methods",
    "NormTuning": "patches.affine_methods",
    "SoftTokens": "patches.soft_tokens",
    "Stack": "patches.stack",
    "PatchMethod": "patches.patch_method",
    "PatchLayer": "patches.patch_layer",
    "AffinePatch": "patches.affine_patch",
    "get_patch": "patches.registry",
    "register_patch_method": "patches.registry",
    "Host": "transfer.host",
    "Task": "transfer.task",
    "TaskModel": "transfer.task_model",
    "TaskCollection": "transfer.task_collection",
    "MixedTasks": "transfer.mixed_tasks",
    "IncrementalTask": "transfer.incremental_task",
    "IncrementalTasks": "transfer.incremental_tasks",
    "merge_task": "transfer.composition",
    "average_tasks": "transfer.composition",
    "stack_tasks": "transfer.composition",
    "patch_table": "transfer.patch_table",
    "build_task": "transfer.strategies",
    "parameter_report": "transfer.parameter_report",
    "pretrain": "runs.pretrain",
    "encode_log": "runs.pretrain",
    "NextItemEvaluation": "runs.next_item",
    "RecommendationData": "runs.recommendation",
    "ClassificationData": "runs.classification",
    "RowSparseAdam": "optimizers.row_sparse_adam",
    "RowSparseLossScaleOptimizer": "optimizers.row_sparse_loss_scale",
    "Validation": "callbacks.validation",
    "transfer_task": "runs.transfer",
    "evaluate": "runs.evaluate",
    "export": "serving.export",
    "ExportedModel": "serving.exported_model",
    "InputError": "errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'keras_peterrec' has no attribute {name!r}")
    module = importlib.import_module(f"keras_peterrec.{_HOMES[name]}")
    # `transfer` is a package of ours as well, so the function has a longer name here.
    return getattr(module, "transfer" if name == "transfer_task" else name)


def __dir__():
    return [*globals(), *__all__]

"""What of an export runs on a GPU, by the kernels in TensorFlow's build; no GPU is needed."""

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from keras_peterrec.serving.verify.export_folder import ExportFolder

needed = pytest.mark.skipif(
    not tf.test.is_built_with_cuda(), reason="this TensorFlow was built without kernels for a GPU"
)
# What `notebooks/serving_on_a_gpu.md` says stays on the CPU.
ON_CPU = {
    *(
        "StringSplitV2",
        "StringJoin",
        "StringLength",
        "StringStrip",
        "StaticRegexFullMatch",
        "StaticRegexReplace",
        "Substr",
        "UnsortedSegmentJoin",
    ),
    *("HashTableV2", "InitializeTableFromTextFileV2", "LookupTableFindV2", "LookupTableExportV2"),
    *("RaggedRange", "RaggedTensorToTensor"),
    "ParseExampleV2",
    *("DecodePaddedRaw", "SerializeTensor"),
}
# No work: they pass values on, name a variable, choose or call a function or end a request.
ANYWHERE = {
    *(
        "Assert",
        "If",
        "IdentityN",
        "NoOp",
        "Placeholder",
        "ReadVariableOp",
        "StatefulPartitionedCall",
    ),
    *("StatelessIf", "StatelessWhile", "VarHandleOp", "VarIsInitializedOp"),
}


def answering(folder):
    """The nodes of all signatures, without those that only save and restore weights."""
    graph = folder.meta_graph.graph_def
    inner = [f for f in graph.library.function if "_traced_" not in f.signature.name]
    return [*graph.node, *(node for function in inner for node in function.node_def)]


def devices(operation):
    return {
        kernel.device_type for kernel in kernels.get_registered_kernels_for_op(operation).kernel
    }


@needed
def test_only_strings_and_lookups_stay_on_the_cpu(causal_export):
    operations = {node.op for node in answering(ExportFolder(causal_export.out))}
    without = {operation for operation in operations if "GPU" not in devices(operation)}
    assert without <= ON_CPU | ANYWHERE
    assert {"StringSplitV2", "LookupTableFindV2"} <= without
    assert {"MatMul", "GatherV2", "TopKV2", "TensorScatterUpdate"} <= operations - without


def test_no_node_asks_for_a_device(causal_export):
    asked = {node.op for node in answering(ExportFolder(causal_export.out)) if node.device}
    assert asked <= {"Const"}  # the name of the files that a restore reads

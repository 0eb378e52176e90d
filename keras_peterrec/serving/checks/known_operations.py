"""The operations that exports are made of: one more is one that an older server may lack."""

_ANSWERS = """
    AddV2 BroadcastTo Cast ConcatV2 Const Cumsum DenseBincount Einsum Equal ExpandDims Fill
    Floor FloorMod GatherV2 Greater GreaterEqual HashTableV2 Identity IdentityN
    InitializeTableFromTextFileV2 Less
    LookupTableFindV2 MatMul Max Maximum Mean Minimum Mul NoOp NotEqual OnesLike Pack Pad PadV2
    ParseExampleV2 Placeholder Pow Prod RaggedRange RaggedTensorToTensor Range ReadVariableOp
    RealDiv Relu Reshape Rsqrt Select SelectV2 Shape Size Softmax Split Sqrt Square Squeeze
    StatefulPartitionedCall StridedSlice StringSplitV2 Sub Sum Tanh TensorScatterUpdate Tile TopKV2
    Transpose UnsortedSegmentJoin VarHandleOp Where ZerosLike
"""
# Rows one by one, each with a task of its own (`mixed`).
_ROWS = """
    AsString BatchMatMulV2 LogicalAnd RaggedTensorFromVariant RaggedTensorToVariant
    StaticRegexReplace TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem
    TensorListStack While
"""
# A state as bytes (`_step`).
_STATES = """
    All Assert DecodePaddedRaw LogicalOr SerializeTensor SplitV StatelessWhile StringLength
    StringStrip Substr
"""
# To save and load weights.
_WEIGHTS = """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename
    StaticRegexFullMatch StringJoin VarIsInitializedOp
"""
# What a patch of one's own may compute with; as old as TensorFlow 1.
_ELEMENTARY = """
    Abs BiasAdd ClipByValue Conv2D Cos Elu Erf Exp Expm1 LeakyRelu LessEqual Log Log1p LogSoftmax
    LogicalNot Neg Reciprocal Relu6 Selu Sigmoid Sign Sin Softplus Softsign SquaredDifference
    StopGradient Unpack
"""

OPERATIONS = frozenset("".join((_ANSWERS, _ROWS, _STATES, _WEIGHTS, _ELEMENTARY)).split())

"""Which of TensorFlow's operations a SavedModel may have.

A SavedModel is a program: some operations read and write files, start servers or run Python. What
is in neither list is refused before anything is loaded; see `graph_safety`. It is a list of what
is allowed, so that an operation of a later TensorFlow is refused until somebody has looked at it.
A test exports everything we can export and names an operation that is missing here.
"""

import re

# What our exports use, so that an older server is sure to have it as well.
_OF_EXPORTS = """
# answers to histories
AddV2 BroadcastTo Cast ConcatV2 Const Cumsum DenseBincount Einsum Equal ExpandDims Fill
Floor FloorDiv FloorMod GatherV2 Greater GreaterEqual HashTableV2 Identity IdentityN
InitializeTableFromTextFileV2 Less LookupTableFindV2 MatMul Max Maximum Mean Minimum Mul NoOp
NotEqual OnesLike Pack Pad PadV2 ParseExampleV2 Placeholder Pow Prod RaggedRange
RaggedTensorToTensor Range ReadVariableOp RealDiv Relu Reshape Rsqrt Select SelectV2 Shape Size
Softmax Split Sqrt Square Squeeze StatefulPartitionedCall StridedSlice StringSplitV2 Sub Sum
Tanh TensorScatterUpdate Tile TopKV2 Transpose UnsortedSegmentJoin VarHandleOp Where ZerosLike
# few users times a table of items, and many (`layers/item_scores.py`)
StatelessIf
# the linear part
GatherNd If ResourceGather ReverseV2 SparseTensorDenseMatMul UnsortedSegmentSum
# rows that each name their task (`mixed`)
AsString BatchMatMulV2 LogicalAnd RaggedTensorFromVariant RaggedTensorToVariant
StatelessCase StaticRegexReplace TensorListFromTensor TensorListGetItem TensorListReserve
TensorListSetItem TensorListStack While
# items that may not be shown
LookupTableExportV2
# times and fields of events; tables of categories hold what stands in the graph
LookupTableImportV2 Round StringToNumber UpperBound
# one event at a time (`_step`), with the state as bytes
All Assert DecodePaddedRaw LogicalOr SerializeTensor SplitV StatelessWhile StringLength
StringStrip Substr
# saving and loading weights
AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename
StaticRegexFullMatch StringJoin VarIsInitializedOp
# what a user's own patch may compute with; all are as old as TensorFlow 1
Abs BiasAdd ClipByValue Conv2D Cos Elu Erf Exp Expm1 LeakyRelu LessEqual Log Log1p LogSoftmax
LogicalNot Neg Reciprocal Relu6 Selu Sigmoid Sign Sin Softplus Softsign SquaredDifference
StopGradient Unpack
"""

# What other people's models may have as well: operations that compute with tensors and touch
# nothing else, neither files, network, processes nor Python. Decoders of pictures and sounds are
# left out: they are parsers of a stranger's bytes.
_HARMLESS = """
# numbers
AccumulateNV2 Acos Acosh Add AddN Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan
Atan2 Atanh Betainc Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs
BroadcastGradientArgs Bucketize Ceil CheckNumerics CheckNumericsV2 Complex ComplexAbs Conj Cosh
Cross Cumprod CumulativeLogsumexp Diag DiagPart Digamma Div DivNoNan Erfc Erfinv
EuclideanNorm HistogramFixedWidth Igamma Igammac Imag InTopK InTopKV2 Inv Invert
InvertPermutation IsFinite IsInf IsNan L2Loss LeftShift Lgamma LinSpace Mod MulNoNan Ndtri
NextAfter Polygamma PopulationCount Real RightShift Rint Round SegmentMax SegmentMean SegmentMin
SegmentProd SegmentSum Sinh Tan TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin
UnsortedSegmentProd Xdivy Xlog1py Xlogy Zeta
# matrices
BatchMatMul BatchMatMulV3 Cholesky ConjugateTranspose LogMatrixDeterminant MatrixBandPart
MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2
MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve
MatrixTriangularSolve Qr SelfAdjointEigV2 SparseAdd SparseConcat SparseFillEmptyRows
SparseReduceSum SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments
SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum
SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax SparseTensorDenseAdd SparseToDense Svd
# layers
AvgPool AvgPool3D BatchToSpace BatchToSpaceND Conv2DBackpropInput Conv3D DepthToSpace
DepthwiseConv2dNative Dilation2D FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN MaxPool
MaxPool3D MaxPoolV2 ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor
SoftmaxCrossEntropyWithLogits SpaceToBatch SpaceToBatchND SpaceToDepth
SparseSoftmaxCrossEntropyWithLogits TopK
# parts of tensors
Concat ConcatOffset DynamicPartition DynamicStitch EnsureShape Gather ListDiff LowerBound
MirrorPad NthElement OneHot ParallelDynamicStitch PlaceholderWithDefault PreventGradient
RaggedGather RaggedTensorToSparse Rank Reverse ReverseSequence Roll ScatterNd ShapeN Slice
Snapshot TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
TensorStridedSliceUpdate Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 UnravelIndex
UpperBound
# texts
DecodeBase64 DecodeRaw EncodeBase64 ParseExample ParseSequenceExampleV2 ParseSingleExample
ReduceJoin RegexFullMatch RegexReplace StringFormat StringLower StringNGrams StringSplit
StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper
UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode
# tables, variables, lists and functions
AnonymousHashTable AssignAddVariableOp AssignSubVariableOp Case EmptyTensorList
InitializeTableV2 LookupTableSizeV2 PartitionedCall ResourceGatherNd ResourceScatterAdd
ResourceScatterUpdate TensorListConcatV2 TensorListElementShape TensorListGather
TensorListLength TensorListPopBack TensorListPushBack TensorListResize TensorListScatterV2
VariableShape
"""

OF_EXPORTS, HARMLESS = (
    frozenset(re.sub("#.*", "", text).split()) for text in (_OF_EXPORTS, _HARMLESS)
)

# They read the file that an input names (which one): an asset, or the model's own weights.
READERS = {"InitializeTableFromTextFileV2": 1, "RestoreV2": 0}
# They write files: the function that saves a model has them, which no server calls.
WRITERS = frozenset({"SaveV2", "MergeV2Checkpoints"})

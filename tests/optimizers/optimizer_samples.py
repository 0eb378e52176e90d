"""Tables, gradients and graphs for the tests of optimizers."""

import keras
import numpy as np
import tensorflow as tf

ROWS, WIDTH = 7, 3


def table_of(rows=ROWS, seed=0):
    values = np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("float32")
    return keras.Variable(values, name="table")


def slices(ids, seed=0, factor=1.0, rows=ROWS):
    """A gradient of a row for each id."""
    values = factor * np.random.default_rng(seed).normal(size=(len(ids), WIDTH))
    return tf.IndexedSlices(
        tf.constant(values, "float32"), tf.constant(ids, "int32"), tf.constant([rows, WIDTH])
    )


def large_tensors(optimizer, variables, gradients, rows):
    """Names of the operations of a step that yield a tensor with an axis of `rows`."""
    optimizer.build(variables)
    step = tf.function(lambda *g: optimizer.apply(g, variables))
    graph = step.get_concrete_function(*gradients).graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return [
        f"{node.op} {node.name}"
        for node in nodes
        for shape in node.attr["_output_shapes"].list.shape
        if any(axis.size == rows for axis in shape.dim)
    ]

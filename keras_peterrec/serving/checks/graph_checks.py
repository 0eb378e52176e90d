"""Does the graph need what a server does not have?"""

# What runs Python code of the process that wrote the graph.
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def check_operations(folder):
    """Operations that TensorFlow Serving's usual builds refuse, a list of str.

    They have no XLA compiler: neither its operations run, nor a function that must
    be compiled by it, which is what Keras makes of a grouped convolution.
    """
    library = folder.meta_graph.graph_def.library.function
    nodes = [*folder.meta_graph.graph_def.node, *(n for f in library for n in f.node_def)]
    operations = {node.op for node in nodes}
    problems = [f"operation {op} needs XLA" for op in operations if op.startswith("Xla")]
    problems += [f"operation {op} needs this Python" for op in operations if op in _PYTHON]
    compiled = {f.signature.name for f in library if f.attr["_XlaMustCompile"].b}
    compiled |= {node.name for node in nodes if node.attr["_XlaMustCompile"].b}
    problems += [f"function {name} needs XLA (jit_compile)" for name in compiled]
    return sorted(problems)

"""Does the graph need what a server does not have?"""

from keras_peterrec.serving.checks.known_operations import OPERATIONS
from keras_peterrec.serving.exported_model import DESCRIPTION

# What runs Python code of the process that wrote the graph.
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def check_operations(folder):
    """Operations that TensorFlow Serving's usual builds refuse, a list of str.

    They have no XLA compiler: neither its operations run, nor a function that must
    be compiled by it, which is what Keras makes of a grouped convolution. An export of
    ours needs no operation that older servers lack; of others nothing is known.
    """
    library = folder.meta_graph.graph_def.library.function
    nodes = [*folder.meta_graph.graph_def.node, *(n for f in library for n in f.node_def)]
    operations = {node.op for node in nodes}
    problems = [f"operation {op} needs XLA" for op in operations if op.startswith("Xla")]
    problems += [f"operation {op} needs this Python" for op in operations if op in _PYTHON]
    compiled = {f.signature.name for f in library if f.attr["_XlaMustCompile"].b}
    compiled |= {node.name for node in nodes if node.attr["_XlaMustCompile"].b}
    problems += [f"function {name} needs XLA (jit_compile)" for name in compiled]
    if (folder.path / DESCRIPTION).is_file():
        told = {op for op in operations if op.startswith("Xla") or op in _PYTHON}
        problems += [
            f"operation {op} is none that exports are known to need; an older server may lack it"
            for op in operations - OPERATIONS - told
        ]
    return sorted(problems)

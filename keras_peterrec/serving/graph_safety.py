"""Whether a SavedModel may be loaded, judged by its graph before anything of it runs.

Loading runs a model's initializers, and a request runs the rest. So all operations are looked at,
those of functions too, and compared with a list; files are read only where the model's own
assets and weights are named, and written nowhere.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.serving.operations import HARMLESS, OF_EXPORTS, READERS, WRITERS
from keras_peterrec.serving.signature_names import INIT
from keras_peterrec.types import AnyPath

_ALLOWED = OF_EXPORTS | HARMLESS
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Behind these stands the same tensor, or a variable that holds it.
_PASSED_ON = ("Identity", "ReadVariableOp")
_OF_VARIABLES = ("AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp")
# Attributes that most operations have and TensorFlow takes for no function: the rest are looked at.
_PLAIN = ("_output_shapes", "T", "dtype", "value")


def unsafe_part(path: AnyPath) -> str | None:
    """What a SavedModel has that a stranger's should not have, as a part of a sentence, or `None`.

    Raises:
        OSError: if the graph cannot be read.
        google.protobuf.message.DecodeError: if it is damaged.
    """
    path = Path(path)
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    try:
        # Its chunks would be read in place of what was looked at.
        if (path / "saved_model.cpb").exists():
            raise _Unsafe("which has a saved_model.cpb beside saved_model.pb")
        for meta_graph in content.meta_graphs:
            _check_assets(path, meta_graph)
            _Graph(meta_graph).check()
    except _Unsafe as found:
        return str(found)
    return None


class _Unsafe(Exception):
    """A reason not to load a model."""


def _check_assets(path, meta_graph):
    folder = (path / "assets").resolve()
    for asset in meta_graph.asset_file_def:
        name = asset.filename
        inside = (folder / name).resolve().is_relative_to(folder)
        if not name or os.path.isabs(name) or not inside:
            raise _Unsafe(f"whose asset {name!r} lies outside its folder")


class _Graph:
    """A graph and its functions, of a `MetaGraphDef`."""

    def __init__(self, meta_graph: Any) -> None:
        self.meta_graph = meta_graph
        self.nodes = {node.name: node for node in meta_graph.graph_def.node}
        self.functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
        self.saver = meta_graph.saver_def
        # The tensors that a loader fills in with paths inside the model's folder.
        self.paths = {_node(asset.tensor_info.name) for asset in meta_graph.asset_file_def}
        if self.saver.filename_tensor_name:
            self.paths.add(_node(self.saver.filename_tensor_name))
        self._calls = defaultdict(list)  # function: (caller, or None for the graph; node)
        self._readers = []  # (function or None, node)
        self._writers = set()  # functions, "" for the graph
        self._of_handles = defaultdict(list)  # variable's node in the graph: nodes that use it
        self._variables = defaultdict(int)  # name that a variable is shared by: how many nodes

    def check(self) -> None:
        """Raises _Unsafe for the first thing that is found."""
        for node in self.meta_graph.graph_def.node:
            self._look_at(node, None)
            for source in node.input:
                if self._operation(source) == "VarHandleOp":
                    self._of_handles[_node(source)].append(node)
        for function in self.functions.values():
            for node in function.node_def:
                self._look_at(node, function)
        self._check_signatures()
        self._check_writers()
        for function, node in self._readers:
            self._check_reader(function, node, READERS[node.op])

    def _look_at(self, node, function):
        """Checks an operation and notes what is to be checked when all are known."""
        if node.op in self.functions:
            self._calls[node.op].append((function, node))
        elif node.op not in _ALLOWED:
            raise self._unsafe(node.op, function)
        if node.op in READERS:
            self._readers.append((function, node))
        elif node.op in WRITERS:
            self._writers.add(function.signature.name if function else "")
        elif node.op == "VarHandleOp":
            self._variables[_shared_name(node)] += 1
        for name in node.attr:
            if name not in _PLAIN:
                for called in _functions_in(node.attr[name]):
                    self._look_at_called(called, node, function)

    def _look_at_called(self, called, node, function):
        if called.name in self.functions:
            self._calls[called.name].append((function, node))
        elif called.name:  # TensorFlow takes an operation here as well
            raise self._unsafe(called.name, function)
        for value in called.attr.values():
            for inner in _functions_in(value):
                self._look_at_called(inner, node, function)

    def _check_signatures(self):
        """Clients may fill in placeholders, but no path and nothing that is computed."""
        for name, signature in self.meta_graph.signature_def.items():
            for info in signature.inputs.values():
                node = _node(info.name)
                if node in self.paths or self._operation(node) not in ("Placeholder", None):
                    raise _Unsafe(f"whose signature {name} takes {node!r}, which is not its own")

    def _check_writers(self):
        """What saves a model may be there, but nobody calls it."""
        if "" in self._writers:
            raise self._unsafe("SaveV2", None)
        saving = self.nodes.get(_node(self.saver.save_tensor_name))
        for name in self._writers:
            callers = self._calls[name]
            if any(function or node is not saving for function, node in callers):
                raise self._unsafe("SaveV2", self.functions[name])
            if name in self.meta_graph.object_graph_def.concrete_functions:
                raise self._unsafe("SaveV2", self.functions[name])
        if saving is None or not self._writers:
            return
        used = {_node(source) for node in self.nodes.values() for source in node.input}
        for signature in self.meta_graph.signature_def.values():
            used.update(_node(info.name) for info in signature.outputs.values())
        used.add(_node(self.saver.restore_op_name))
        for collection in self.meta_graph.collection_def.values():
            used.update(map(_node, collection.node_list.value))
        if saving.name in used:
            raise self._unsafe("SaveV2", None)

    def _check_reader(self, function, node, place):
        """Follows the name of a file back to an asset or to the path of the weights."""
        source = _input(node, place)
        if function is None:
            if not self._is_path(source, set()):
                raise self._unsafe(node.op, None, "of a file that is no asset")
            return
        arguments = [argument.name for argument in function.signature.input_arg]
        if source not in arguments:
            raise self._unsafe(node.op, function, "of a file that is no asset")
        self._check_argument(function, arguments.index(source), node.op, set())

    def _check_argument(self, function, place, operation, seen):
        """Checks what all callers of a function give as one of its arguments."""
        name = function.signature.name
        if name in seen:
            return
        seen.add(name)
        graph = self.meta_graph.object_graph_def
        if name in graph.concrete_functions:
            bound = graph.concrete_functions[name].bound_inputs
            at = place - (len(function.signature.input_arg) - len(bound))
            if at < 0 or graph.nodes[bound[at]].WhichOneof("kind") != "asset":
                raise self._unsafe(operation, function, "of a file that is no asset")
        for caller, node in self._calls[name]:
            plain = node.op in _CALLS or node.op == name
            source = _input(node, place) if plain else None
            if caller is None and source and self._is_path(source, set()):
                continue
            arguments = [a.name for a in caller.signature.input_arg] if caller else []
            if source not in arguments:
                raise self._unsafe(operation, caller, "of a file that is no asset")
            self._check_argument(caller, arguments.index(source), operation, seen)

    def _is_path(self, source, seen):
        """Whether a tensor of the graph is a path that the loader has filled in."""
        name = _node(source)
        node = self.nodes.get(name)
        if node is None or name in seen:
            return False
        if name in self.paths:
            return node.op == "Placeholder"  # a constant would count where nothing is filled in
        if node.op == "VarHandleOp":
            return self._holds_path(node, seen | {name})
        return node.op in _PASSED_ON and self._is_path(node.input[0], seen | {name})

    def _holds_path(self, variable, seen):
        """Whether nothing but paths is ever written into a variable."""
        users = self._of_handles[variable.name]
        written = [node.input[1] for node in users if node.op == "AssignVariableOp"]
        return (
            self._variables[_shared_name(variable)] == 1
            and all(node.op in _OF_VARIABLES for node in users)
            and bool(written)
            and all(self._is_path(source, seen) for source in written)
        )

    def _operation(self, source):
        node = self.nodes.get(_node(source))
        return node.op if node is not None else None

    def _unsafe(self, operation, function, what=""):
        """The exception for an operation, with the signatures that would run it."""
        text = f"which has the operation {operation}"
        text += f" {what}" if what else ""
        if function is None:
            return _Unsafe(f"{text} in its graph")
        name = function.signature.name
        signatures = sorted(self._signatures_with(name))
        if INIT in signatures:
            return _Unsafe(f"{text} in what initializes it, {name}")
        if signatures:
            return _Unsafe(f"{text} in its signature {', '.join(signatures)}")
        return _Unsafe(f"{text} in its function {name}")

    def _signatures_with(self, wanted):
        """Names of the signatures that call a function."""
        for name, signature in self.meta_graph.signature_def.items():
            waiting = [_node(info.name) for info in signature.outputs.values()]
            seen, called = set(), []
            while waiting:
                node = self.nodes.get(waiting.pop())
                if node is None or node.name in seen:
                    continue
                seen.add(node.name)
                called += _called(node)
                waiting += map(_node, node.input)
            functions = set()
            while called:
                function = self.functions.get(called.pop())
                if function is None or function.signature.name in functions:
                    continue
                functions.add(function.signature.name)
                called += [inner for node in function.node_def for inner in _called(node)]
            if wanted in functions:
                yield name


def _called(node):
    """Names of the functions that a node calls."""
    return [node.op, *(f.name for value in node.attr.values() for f in _functions_in(value))]


def _functions_in(value):
    """The functions that an attribute names."""
    kind = value.WhichOneof("value")
    return [value.func] if kind == "func" else value.list.func if kind == "list" else []


def _node(tensor):
    """The name of the node of a tensor, `a` of `a:0` and of `^a`."""
    return tensor.removeprefix("^").split(":")[0]


def _shared_name(variable):
    """The name by which the nodes of one variable find it."""
    shared = variable.attr["shared_name"].s if "shared_name" in variable.attr else b""
    return shared or variable.name.encode()


def _input(node, place):
    """An input of a node; `None` if it has no such one."""
    return node.input[place] if place < len(node.input) else None

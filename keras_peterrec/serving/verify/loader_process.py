"""A script that loads a SavedModel and answers requests, without this library.

    python loader_process.py c VERSION_DIRECTORY LIBRARY_FOLDER < requests.json
    python loader_process.py c-quick VERSION_DIRECTORY LIBRARY_FOLDER < requests.json
    python loader_process.py tensorflow VERSION_DIRECTORY LIBRARY_FOLDER < requests.json

It reads a list of requests, `{"signature", "inputs": {name: tensor}, "outputs": {name: tensor},
"batch": {input name: strings or integers}}`, and prints a list of answers, `{output name:
{"shape", "values"}}`. Strings are bytes, one character each; integers are int32.
"""

import ctypes
import json
import sys
from pathlib import Path

FLOAT, INTEGER, STRING = 1, 3, 7  # of TensorFlow's data types
NUMBERS = {FLOAT: ctypes.c_float, INTEGER: ctypes.c_int32}
# A ConfigProto with `graph_options.rewrite_options.disable_meta_optimizer`: graphs are run as they
# are. To optimize one takes longer than to run it a hundred times.
QUICK = bytes.fromhex("52055203980101")
STRING_BYTES = 24  # sizeof(TF_TString)


class TensorFlowLoader:
    """Loads with TensorFlow's Python, in a process that can import neither Keras nor us."""

    def __init__(self, folder, libraries):
        sys.modules["keras_peterrec"] = sys.modules["keras"] = None  # an import would now fail
        import tensorflow as tf

        self.constant = tf.constant
        self.model = tf.saved_model.load(folder)

    def answer(self, request):
        batch = {
            name: self.constant(encoded(rows), "int32" if isinstance(rows[0], int) else "string")
            for name, rows in request["batch"].items()
        }
        answer = self.model.signatures[request["signature"]](**batch)
        return {name: self.plain(tensor.numpy()) for name, tensor in answer.items()}

    def plain(self, array):
        text = array.dtype == object
        values = [v.decode("latin-1") if text else float(v) for v in array.flat]
        return {"shape": array.shape, "values": values}


class Output(ctypes.Structure):
    """`TF_Output`: one output of one operation."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class CLoader:
    """Loads with `TF_LoadSessionFromSavedModel` of TensorFlow's C API, without its Python.

    TensorFlow Serving uses that loader too.
    """

    def __init__(self, folder, libraries, config=b""):
        self.library = load_library(libraries)
        self.status = ctypes.c_void_p(self.library.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.library.TF_NewGraph())
        options = ctypes.c_void_p(self.library.TF_NewSessionOptions())
        self.library.TF_SetConfig(options, config, ctypes.c_size_t(len(config)), self.status)
        self.check()
        tags = (ctypes.c_char_p * 1)(b"serve")
        session = self.library.TF_LoadSessionFromSavedModel(
            options, None, folder.encode(), tags, 1, self.graph, None, self.status
        )
        self.check()
        self.session = ctypes.c_void_p(session)

    def answer(self, request):
        inputs, outputs, batch = (request[part] for part in ("inputs", "outputs", "batch"))
        fed = [self.fed(encoded(batch[name])) for name in inputs]
        feeds = (Output * len(inputs))(*map(self.output, inputs.values()))
        fetches = (Output * len(outputs))(*map(self.output, outputs.values()))
        values = (ctypes.c_void_p * len(outputs))()
        self.library.TF_SessionRun(
            *(self.session, None),
            *(feeds, (ctypes.c_void_p * len(fed))(*fed), len(fed)),
            *(fetches, values, len(outputs)),
            *(None, 0, None, self.status),
        )
        self.check()
        return {name: self.plain(value) for name, value in zip(outputs, values)}

    def check(self):
        if self.library.TF_GetCode(self.status):
            sys.exit(self.library.TF_Message(self.status).decode())

    def output(self, tensor):
        name, index = tensor.split(":")
        operation = self.library.TF_GraphOperationByName(self.graph, name.encode())
        if not operation:
            sys.exit(f"the graph has no operation {name}")
        return Output(operation, int(index))

    def fed(self, rows):
        """A tensor `[B]`."""
        if isinstance(rows[0], bytes):
            return self.strings(rows)
        shape, content = (ctypes.c_int64 * 1)(len(rows)), (ctypes.c_int32 * len(rows))(*rows)
        size = ctypes.c_size_t(ctypes.sizeof(content))
        tensor = self.library.TF_AllocateTensor(INTEGER, shape, 1, size)
        ctypes.memmove(self.library.TF_TensorData(ctypes.c_void_p(tensor)), content, size.value)
        return tensor

    def strings(self, rows):
        shape = (ctypes.c_int64 * 1)(len(rows))
        size = ctypes.c_size_t(STRING_BYTES * len(rows))
        tensor = self.library.TF_AllocateTensor(STRING, shape, 1, size)
        data = self.library.TF_TensorData(ctypes.c_void_p(tensor))
        for n, row in enumerate(rows):
            cell = ctypes.c_void_p(data + STRING_BYTES * n)
            self.library.TF_StringInit(cell)
            self.library.TF_StringCopy(cell, row, ctypes.c_size_t(len(row)))
        return tensor

    def plain(self, tensor):
        tensor = ctypes.c_void_p(tensor)
        shape = [self.library.TF_Dim(tensor, n) for n in range(self.library.TF_NumDims(tensor))]
        size = 1
        for dimension in shape:
            size *= dimension
        data, dtype = self.library.TF_TensorData(tensor), self.library.TF_TensorType(tensor)
        if dtype == STRING:
            values = [self.text(data + STRING_BYTES * n) for n in range(size)]
        elif dtype in NUMBERS:
            values = list((NUMBERS[dtype] * size).from_address(data)) if size else []
        else:
            sys.exit(f"an output should be float32, int32 or string. Found: data type {dtype}")
        return {"shape": shape, "values": values}

    def text(self, address):
        cell = ctypes.c_void_p(address)
        size = self.library.TF_StringGetSize(cell)
        content = ctypes.string_at(self.library.TF_StringGetDataPointer(cell), size)
        return content.decode("latin-1")


def encoded(rows):
    return [row if isinstance(row, int) else row.encode("latin-1") for row in rows]


def load_library(folder):
    """TensorFlow's C functions, with the types that ctypes does not guess."""
    # The first holds the tensors, the second the sessions.
    ctypes.CDLL(str(Path(folder) / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(Path(folder) / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    pointers = (
        "NewStatus NewGraph NewSessionOptions LoadSessionFromSavedModel GraphOperationByName "
        "AllocateTensor TensorData StringGetDataPointer"
    )
    for name in pointers.split():
        getattr(library, f"TF_{name}").restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    library.TF_StringGetSize.restype = ctypes.c_size_t
    library.TF_Dim.restype = ctypes.c_int64
    return library


if __name__ == "__main__":
    kind, folder, libraries = sys.argv[1:]
    if kind == "tensorflow":
        loader = TensorFlowLoader(folder, libraries)
    else:
        loader = CLoader(folder, libraries, QUICK if kind == "c-quick" else b"")
    answers = [loader.answer(request) for request in json.load(sys.stdin)]
    # An import set to None above is not there either.
    assert sys.modules.get("keras_peterrec") is None
    assert kind == "tensorflow" or "tensorflow" not in sys.modules
    print(json.dumps(answers))

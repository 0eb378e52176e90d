"""Loads a SavedModel through TensorFlow's C API, with neither TensorFlow's Python nor ours.

`TF_LoadSessionFromSavedModel` is the loader that TensorFlow Serving uses. Run as

    python c_loader.py VERSION_DIRECTORY LIBRARY_FOLDER < requests.json

and see `keras_peterrec.serving.checks.loaders` for what goes in and out.
"""

import base64
import ctypes
import json
import sys
from pathlib import Path

FLOAT, STRING = 1, 7
STRING_BYTES = 24  # sizeof(TF_TString)


class Output(ctypes.Structure):
    """`TF_Output`: one output of one operation."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


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


class Session:
    """A loaded version directory."""

    def __init__(self, library, folder):
        self.library = library
        self.status = ctypes.c_void_p(library.TF_NewStatus())
        self.graph = ctypes.c_void_p(library.TF_NewGraph())
        options = ctypes.c_void_p(library.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        session = library.TF_LoadSessionFromSavedModel(
            options, None, folder.encode(), tags, 1, self.graph, None, self.status
        )
        self.check()
        self.session = ctypes.c_void_p(session)

    def check(self):
        if self.library.TF_GetCode(self.status):
            sys.exit(self.library.TF_Message(self.status).decode())

    def output(self, tensor):
        name, index = tensor.split(":")
        operation = self.library.TF_GraphOperationByName(self.graph, name.encode())
        if not operation:
            sys.exit(f"no operation {name}")
        return Output(operation, int(index))

    def run(self, request):
        inputs, outputs, batch = (request[part] for part in ("inputs", "outputs", "batch"))
        fed = [self.strings([base64.b64decode(text) for text in batch[name]]) for name in inputs]
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
        return {name: self.tensor(value) for name, value in zip(outputs, values)}

    def strings(self, texts):
        shape = (ctypes.c_int64 * 1)(len(texts))
        size = ctypes.c_size_t(STRING_BYTES * len(texts))
        tensor = self.library.TF_AllocateTensor(STRING, shape, 1, size)
        data = self.library.TF_TensorData(ctypes.c_void_p(tensor))
        for n, text in enumerate(texts):
            cell = ctypes.c_void_p(data + STRING_BYTES * n)
            self.library.TF_StringInit(cell)
            self.library.TF_StringCopy(cell, text, ctypes.c_size_t(len(text)))
        return tensor

    def tensor(self, value):
        """Shape and flat values of a tensor of floats or strings."""
        tensor = ctypes.c_void_p(value)
        shape = [self.library.TF_Dim(tensor, n) for n in range(self.library.TF_NumDims(tensor))]
        size = 1
        for dimension in shape:
            size *= dimension
        data = self.library.TF_TensorData(tensor)
        if self.library.TF_TensorType(tensor) == FLOAT:
            values = list((ctypes.c_float * size).from_address(data))
        else:
            values = [self.text(data + STRING_BYTES * n) for n in range(size)]
        return {"shape": shape, "values": values}

    def text(self, address):
        cell = ctypes.c_void_p(address)
        size = self.library.TF_StringGetSize(cell)
        content = ctypes.string_at(self.library.TF_StringGetDataPointer(cell), size)
        return base64.b64encode(content).decode()


if __name__ == "__main__":
    session = Session(load_library(sys.argv[2]), sys.argv[1])
    answers = [session.run(request) for request in json.load(sys.stdin)]
    assert not {"tensorflow", "keras_peterrec"} & sys.modules.keys()
    print(json.dumps(answers))

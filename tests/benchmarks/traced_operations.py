"""What ran while a function was called, read from the files of TensorFlow's profiler.

The classes that read them are private; `test_step_parts.py` says whether a new release has changed
them.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from tensorflow.compiler.xla.service.hlo_pb2 import HloProto
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XPlane, XSpace


@dataclass(frozen=True)
class TracedOperation:
    """An operation that ran while a trace was taken.

    Args:
        path: str. The names of the scopes and of the operation, such as
            `"while/block_1/norm_1/mul"`; empty if the compiler made it up.
        kind: str. What it computes: XLA's name of that, such as `"dot"`, or TensorFlow's, such
            as `"MatMul"`. A fusion that contains a product is a `"dot"`.
        began, ended: float. Seconds on a common clock.
    """

    path: str
    kind: str
    began: float
    ended: float


def traced_operations(run):
    """Calls a function under TensorFlow's profiler and returns what ran on the CPU.

    The profiler is public; what it writes is read by classes that are not. It names what XLA has
    compiled by XLA's own names, and the programs lie beside the trace: from them come the names
    that the operations had in our code.

    Args:
        run: callable without arguments.

    Returns:
        list of TracedOperation. Loops and calls are left out, what runs in them is not.
    """
    options = tf.profiler.experimental.ProfilerOptions(python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options):
            run()
        (file,) = Path(folder).glob("**/*.xplane.pb")
        planes = {plane.name: plane for plane in XSpace.FromString(file.read_bytes()).planes}
    compiled = planes.get("/host:metadata", XPlane()).event_metadata.items()
    programs = {number: _named_instructions(event.stats[0]) for number, event in compiled}
    return _operations(planes["/host:CPU"], programs)


# TensorFlow's own operations, among much else that is traced: "scope/name:Type".
_OPERATION = re.compile(r"([\w./>-]+):(\w+)")
_CONTAINERS = ("while", "call", "conditional")
_NAMELESS = ("parameter", "constant", "tuple", "get-tuple-element", *_CONTAINERS)


def _operations(plane, programs):
    """The operations of the plane of a CPU."""
    events = {number: event.name for number, event in plane.event_metadata.items()}
    stats = {number: stat.name for number, stat in plane.stat_metadata.items()}
    begun, found, ends = [], [], {}
    for line in plane.lines:
        for event in line.events:
            name, began = events[event.metadata_id], line.timestamp_ns * 1000 + event.offset_ps
            told = {stats[stat.metadata_id]: stat.int64_value for stat in event.stats}
            ended = began + event.duration_ps
            if name.startswith("end: "):  # of what other threads went on with
                ends[told.get("_c")] = ended
            elif "hlo_op" in told:
                path, kind = programs.get(told.get("program_id"), {}).get(name, ("", ""))
                begun.append((path, kind, began, ended, told.get("_p")))
            elif match := _OPERATION.fullmatch(name):
                begun.append((*match.groups(), began, ended, None))
    for path, kind, began, ended, number in begun:
        if kind not in _CONTAINERS and "Call" not in kind and "Xla" not in kind:
            ended = max(ended, ends.get(number, 0))
            found.append(TracedOperation(path, kind, began / 1e12, ended / 1e12))
    return found


def _named_instructions(program):
    """Path and kind of each instruction of a compiled program, `{name: (path, kind)}`."""
    module = HloProto.FromString(program.bytes_value).hlo_module
    inside = {each.id: {i.opcode for i in each.instructions} for each in module.computations}
    found = {}
    for computation in module.computations:
        paths, users = {}, {}
        for each in computation.instructions:  # operands come before their users
            path = each.metadata.op_name
            for operand in each.operand_ids:
                users.setdefault(operand, each.id)
                path = path or paths[operand]
            paths[each.id] = "" if each.opcode in _NAMELESS else path
        for each in reversed(computation.instructions):
            path = paths[each.id] or paths.get(users.get(each.id), "")
            paths[each.id] = path
            called = set().union(*(inside[number] for number in each.called_computation_ids))
            is_product = each.opcode == "fusion" and "dot" in called
            found[each.name] = path, "dot" if is_product else each.opcode
    return found

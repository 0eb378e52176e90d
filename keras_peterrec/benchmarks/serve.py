"""How fast a server answers, beside the model in its own process; loads no TensorFlow itself."""

import contextlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from keras_peterrec.benchmarks.loopback_model import LoopbackModel
from keras_peterrec.benchmarks.machine import describe_machine
from keras_peterrec.benchmarks.new_folder import check_new_folder
from keras_peterrec.benchmarks.serve_configuration import ServeConfiguration
from keras_peterrec.benchmarks.serve_measurement import measure_ceilings, measure_server
from keras_peterrec.benchmarks.serve_report import write_report
from keras_peterrec.benchmarks.server_process import ServerProcess
from keras_peterrec.benchmarks.worker import Worker, WorkerError
from keras_peterrec.errors import InputError

CEILING = [sys.executable, "-m", "keras_peterrec.benchmarks.serve_ceiling"]
NAME = "peterrec"


def benchmark_serve(out=None, model=None, url=(), server_option=(), **settings):
    """Puts load on a server from a separate process, over loopback, and reports it.

    The server is ours, started for this, unless `url` names others. Each signature that
    answers histories is asked over each number of connections, and called in a process
    of its own without a server: one history a call, and in batches. Client, server and
    that process take turns with the machine.

    Args:
        out: path of a new folder for `metrics.json`, `table.md`, `table.csv` and
            `plot.png`, or `None`.
        model: path of an export: a version directory, or the folder of versions, of which
            the newest is taken. Defaults to a made-up one with random weights.
        url: list of str. Models of servers on this machine, such as
            `http://127.0.0.1:8501/v1/models/peterrec`, measured in the place of ours;
            `model` is then what they serve.
        server_option: list of str. More words for our `keras-peterrec serve`.
        **settings: See `ServeConfiguration`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument cannot be used, or a server or model does not answer.
    """
    if out is not None:
        check_new_folder(out)
    configuration = ServeConfiguration(**settings)
    elsewhere = [LoopbackModel.parse(each) for each in url]
    version = None if model is None else _version(model)
    result = {
        "command": "benchmark serve",
        "settings": {
            **asdict(configuration),
            "model": None if model is None else str(model),
            "url": list(url),
            "server_option": list(server_option),
        },
        "machine": describe_machine(),
    }
    with tempfile.TemporaryDirectory(prefix="keras_peterrec_") as folder:
        try:
            result |= _measure(Path(folder), version, elsewhere, list(server_option), configuration)
        except WorkerError as error:
            raise InputError(f"nothing could be measured: {error}") from error
    if out is not None:
        write_report(result, Path(out))
    return result


def _measure(folder, version, elsewhere, options, configuration):
    """`ceilings`, `firsts`, `rows` and `counts`."""
    made_up = None
    if version is None:
        version, made_up = folder / NAME / "1", configuration.made_up()
    else:
        # A folder with this version alone: a newer one beside it must not be served.
        (folder / NAME).mkdir()
        (folder / NAME / version.name).symlink_to(version.resolve())
    settings = {
        "version": str(version),
        "made_up": made_up,
        "length": configuration.length,
        "seed": configuration.seed,
    }
    found = {"ceilings": [], "firsts": [], "rows": [], "counts": []}
    with Worker(CEILING, settings) as ceiling:
        names, histories = ceiling.ready["signatures"], ceiling.ready["histories"]
        bodies = folder / "bodies.json"
        bodies.write_text(
            json.dumps(
                {
                    name: [
                        json.dumps({"signature_name": name, "instances": [h]}) for h in histories
                    ]
                    for name in names
                }
            )
        )
        found["ceilings"] = measure_ceilings(ceiling, names, configuration)
        for target in elsewhere or [None]:
            with contextlib.ExitStack() as stack:
                server = None
                if target is None:
                    server = stack.enter_context(ServerProcess(folder / NAME, options))
                where = target or LoopbackModel("127.0.0.1", server.port, f"/v1/models/{NAME}")
                measure_server(where, server, bodies, _known(where, names), configuration, found)
    return found


def _known(where, names):
    known = [name for name in names if name in where.signatures()]
    if not known:
        raise InputError(
            f"`url` should be a model with one of the signatures {', '.join(names)}, as `model` "
            f"has. Received: {str(where)!r}."
        )
    return known


def _version(model):
    path = Path(model)
    if (path / "saved_model.pb").is_file():
        return path
    numbers = [each.name for each in path.glob("[0-9]*") if (each / "saved_model.pb").is_file()]
    numbers = [name for name in numbers if name.isdigit()]
    if not numbers:
        raise InputError(
            "`model` should be an export, such as export/peterrec or export/peterrec/1. "
            f"Received: `model` = {str(model)!r}."
        )
    return path / max(numbers, key=int)

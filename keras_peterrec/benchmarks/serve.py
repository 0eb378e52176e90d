"""`benchmark serve`: how fast a server answers, beside the same model without a server.

Loads no TensorFlow itself: server, client and the model without a server are processes.
"""

import contextlib
import ipaddress
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keras_peterrec.benchmarks.report import Line, Table, describe_machine, write_report
from keras_peterrec.benchmarks.worker import Worker, WorkerError
from keras_peterrec.errors import InputError, refuse
from keras_peterrec.progress import HOW, line
from keras_peterrec.server.serve import check_installed
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.benchmark import ServeBenchmarkSettings
from keras_peterrec.types import AnyPath, Json

OURS = "keras_peterrec"
NAME = "peterrec"
CLIENT = [sys.executable, "-m", "keras_peterrec.benchmarks.serve_load"]
DIRECT = [sys.executable, "-m", "keras_peterrec.benchmarks.serve_direct"]
BATCHES = (16, 64)
WARM_UP = 0.2  # of the time of a measurement
END_SECONDS = 60
LATENCIES = ("p50_ms", "p90_ms", "p99_ms")
NOTES = """\
A request asks for one history. Every connection asks again as soon as it is answered; the
client is a process of its own on the same machine, and `client CPU` the share of a core that it
takes. The servers and the calls without a server take turns, and numbers are medians over the
turns. `of ceiling`: requests a second against the most histories a second of the same signature
without a server, in batches. `p50 / call`: the median latency against that of a call of one
history without a server.
"""


@takes(ServeBenchmarkSettings)
def benchmark_serve(settings: ServeBenchmarkSettings) -> Json:
    """Puts load on a server from a separate process, over loopback, and reports it.

    The server is ours, started for this, unless `url` names others. Each signature that
    answers histories is asked over each number of connections, and called in a process of its
    own without a server: one history a call, and in batches.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument cannot be used, or a server or model does not answer.
    """
    check_installed()
    for url in settings.url:
        loopback_model(url)
    result = {
        "command": settings.command,
        "settings": settings.recorded(),
        "machine": describe_machine(),
    }
    with tempfile.TemporaryDirectory(prefix="keras_peterrec_") as folder:
        base_path = Path(folder) / NAME  # with one version, whatever stands beside it elsewhere
        version = base_path / "1"
        if settings.model is not None:
            base_path.mkdir()
            version.symlink_to(_newest_version(Path(settings.model)).resolve())
        try:
            result |= _measure(base_path, version, settings)
        except WorkerError as error:
            raise InputError(f"nothing could be measured: {error}") from error
    if settings.out is not None:
        write_report(result, settings.out, _tables(result), NOTES, _plot_columns(result["rows"]))
    return result


def loopback_model(url: str) -> Any:
    """Host, port and path of a model on this machine; load is put on no other.

    Raises:
        InputError: `url` is not that of a model, or its host is not this machine. Names are not
            resolved: only `localhost` is known to be here.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    model = parts.path.startswith("/v1/models/") and not parts.query
    if parts.scheme != "http" or not host or not model:
        refuse("url", "a model's address such as http://127.0.0.1:8501/v1/models/NAME", url)
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    if not here:
        refuse(
            "url",
            "on this machine (127.0.0.1, ::1 or localhost): the benchmark puts load on no other",
            url,
        )
    return host, port, parts.path.rstrip("/")


def _newest_version(path):
    if (path / "saved_model.pb").is_file():
        return path
    versions = [each.parent for each in path.glob("*/saved_model.pb") if each.parent.name.isdigit()]
    if not versions:
        refuse("model", "an export, such as export/peterrec or export/peterrec/1", str(path))
    return max(versions, key=lambda each: int(each.name))


def _measure(base_path, version, settings):
    """`ceilings`, `rows` and `counts` of a result."""
    with contextlib.ExitStack() as stack:
        bodies = base_path.parent / "bodies.json"
        given = {**settings.recorded(), "version": str(version), "bodies": str(bodies)}
        direct = stack.enter_context(Worker(DIRECT, given))
        own = None
        if not settings.url:
            own = stack.enter_context(OwnServer(base_path, settings.server_option))
        clients, names = {}, {}
        for server, url in {OURS: own.url}.items() if own else zip(settings.url, settings.url):
            client = Worker(CLIENT, {"url": url, "bodies": str(bodies)})
            clients[server] = stack.enter_context(client)
            asked = client.ready["signatures"]
            names[server] = [name for name, each in asked.items() if not each["errors"]]
            if not names[server]:
                raise InputError(
                    "`url` should be a model that answers one of the signatures "
                    f"{', '.join(asked)}, as `model` does. Received: `url` = {url!r}, which "
                    f"answered {next(iter(asked.values()))['failures']}."
                )
        result = _turns(direct, clients, names, settings)
        result["counts"] = [
            {"server": server, "client": client.ask("answered")["answered"]}
            for server, client in clients.items()
        ]
        if own:
            result["counts"][0]["counted_by_server"] = own.close()
    return result


def _turns(direct, clients, known, settings):
    """`ceilings` of the model alone, and `rows` of the servers, which take turns with it."""
    seconds = settings.seconds / settings.rounds
    callers = sorted({1, os.cpu_count() or 1})
    calls = [(1, 1), *((batch, n) for batch in BATCHES for n in callers)]
    ceilings, rows = {}, {}
    for name in direct.ready["signatures"]:
        for _ in range(settings.rounds):
            answers = [direct.ask(f"call {name} {b} {n} {seconds / 4}") for b, n in calls]
            for how, call in zip(calls, answers):
                ceilings.setdefault((name, *how), []).append(call)
            best = max(call["histories_per_second"] for call in answers)
            for connections in settings.connections:
                for server in (server for server in clients if name in known[server]):
                    words = f"load {name} {connections} {seconds} {seconds * WARM_UP}"
                    turn = clients[server].ask(words)
                    turn["ceiling_per_second"] = best
                    turn["share_of_ceiling"] = turn["requests_per_second"] / best
                    p50 = turn["p50_ms"]
                    turn["times_call"] = None if p50 is None else p50 / answers[0]["p50_ms"]
                    rows.setdefault((server, name, connections), []).append(turn)
        line(f"  {name}: measured")
    ceilings = [{"signature": name, **_medians(turns)} for (name, *_), turns in ceilings.items()]
    keys = ("server", "signature", "connections")
    return {
        "ceilings": ceilings,
        "rows": [{**dict(zip(keys, key)), **_medians(turns)} for key, turns in rows.items()],
    }


def _medians(turns):
    """Turns as one row: counts are summed, of other numbers it is the median."""
    row = {}
    for name in turns[0]:
        values = [turn[name] for turn in turns if turn[name] is not None]
        if name in ("requests", "errors"):
            row[name] = sum(values)
        elif name == "failures":
            row[name] = dict(sum(map(Counter, values), Counter()))
        else:
            row[name] = statistics.median(values) if values else None
    return row


class OwnServer:
    """`keras-peterrec serve` as a person starts it, on free ports of loopback.

    `base_path` has version directories, `options` are more words of the command, and the attribute
    `url` is that of the model.

    Raises:
        WorkerError: it ends before it answers.
    """

    def __init__(self, base_path: AnyPath, options: Sequence[str] = ()) -> None:
        address = ("--host", "127.0.0.1", "--port", "0", "--grpc-port", "0")
        model = ("--model-base-path", str(base_path), "--model-name", NAME)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "keras_peterrec", "serve", "--json", *address, *model, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Its line with the address is read here, whatever a person wants to see.
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, HOW: "lines"},
        )
        last = ""
        for text in self._process.stderr:
            last = text.strip() or last
            if found := re.search(r"http://127\.0\.0\.1:\d+(?= answers)", text):
                break
        else:
            self._process.communicate()
            raise WorkerError(f"the server ended: {last}")
        self.url = f"{found[0]}/v1/models/{NAME}"
        # Read on, or the server waits once the pipe is full.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def close(self) -> Any:
        """Ends it as SIGTERM does; returns the requests that it counted, where it says so."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
            return json.loads(self._process.stdout.read())["requests"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None  # it hangs, or was closed before
        finally:
            self._process.kill()
            self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def show(result: Json) -> None:
    """Prints a result as tables."""
    print(*_tables(result), sep="\n")


def _tables(result):
    columns = {
        "server": "{server}",
        "signature": "{signature}",
        "connections": "{connections}",
        "requests/s": "{requests_per_second:,.0f}",
        **{name.replace("_", " "): _number(name) for name in LATENCIES},
        "errors": "{errors}",
        "of ceiling": "{share_of_ceiling:.0%}",
        "p50 / call": _number("times_call", 2),
        "client CPU": "{client_cpu:.0%}",
    }
    ceiling_columns = {
        "signature": "{signature}",
        "batch": "{batch:.0f}",
        "callers": "{callers:.0f}",
        "histories/s": "{histories_per_second:,.0f}",
        "call p50 ms": _number("p50_ms"),
        "call p99 ms": _number("p99_ms"),
    }
    return [
        Table("Under load", result["rows"], columns),
        Table("Without a server", result["ceilings"], ceiling_columns),
    ]


def _number(name, decimals=1):
    return lambda row: "" if row[name] is None else f"{row[name]:,.{decimals}f}"


def _plot_columns(rows):
    """A column for each signature: requests a second above, latencies below."""
    columns = {}
    for name in dict.fromkeys(row["signature"] for row in rows):
        rates, latencies = [], []
        mine = [row for row in rows if row["signature"] == name]
        for style, server in enumerate(dict.fromkeys(row["server"] for row in mine)):
            shown = [row for row in mine if row["server"] == server]
            xs = [row["connections"] for row in shown]
            rates.append(Line(server, xs, [r["requests_per_second"] for r in shown], 0, style))
            for colour, share in enumerate(LATENCIES):
                ys = [float("nan") if row[share] is None else row[share] for row in shown]
                label = f"{server} {share.removesuffix('_ms')}"
                latencies.append(Line(label, xs, ys, colour, style))
        ceilings = [row["ceiling_per_second"] for row in shown]
        rates.append(Line("in batches, no server", xs, ceilings, 3, 3))
        columns[f"connections, {name}"] = {"requests a second": rates, "latency, ms": latencies}
    return columns

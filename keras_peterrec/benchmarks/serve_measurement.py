"""The cells of the serving benchmark."""

import os
import statistics
import sys

from keras_peterrec.benchmarks.worker import Worker

CLIENT = [sys.executable, "-m", "keras_peterrec.benchmarks.serve_client"]
BATCHES = (16, 64)
_WARM_UP = 0.2  # of the seconds of a cell


def measure_ceilings(ceiling, names, configuration):
    """What the model answers without a server.

    Args:
        ceiling: Worker.
        names: list of str. Signatures.
        configuration: ServeConfiguration.

    Returns:
        list of dict, a row for each signature, size of batch and number of callers.
    """
    seconds = configuration.seconds / 4
    callers = sorted({1, os.cpu_count() or 1})
    rows = []
    for name in names:
        cells = [(1, 1), *((batch, n) for batch in BATCHES for n in callers)]
        for batch, n in cells:
            cell = ceiling.ask(f"call {name} {batch} {n} {seconds}")
            rows.append({"signature": name, **cell})
        best = max(row["histories_per_second"] for row in rows if row["signature"] == name)
        _tell(f"{name}, without a server: at most {best:,.0f} histories/s")
    return rows


def measure_server(where, server, bodies, names, configuration, found):
    """Adds what one server answers to the rows that were found.

    Args:
        where: LoopbackModel.
        server: ServerProcess, or None where it is not ours: then it is not fresh, and its
            first answers say nothing.
        bodies: path of the requests.
        names: list of str. Signatures.
        configuration: ServeConfiguration.
        found: dict of lists: `ceilings` to compare with, and `firsts`, `rows` and `counts`
            to add to.
    """
    label = "keras_peterrec" if server else str(where)
    with Worker(CLIENT, {**where.__dict__, "bodies": str(bodies)}) as client:
        for name in names if server else ():
            found["firsts"].append(
                {"server": label, "signature": name, **client.ask(f"first {name}")}
            )
        for name in names:
            for connections in configuration.connections:
                seconds = configuration.seconds
                cell = client.ask(f"load {name} {connections} {seconds} {seconds * _WARM_UP}")
                row = {"server": label, "signature": name, **cell}
                row |= _compared(row, found["ceilings"])
                found["rows"].append(row)
                _tell(
                    f"{label}, {name}, {connections}: {row['requests_per_second']:,.0f} "
                    f"requests/s, {row['errors']} errors"
                )
        answered = client.ask("answered")
    counted = server.close() if server else None
    found["counts"].append(
        {
            "server": label,
            "client": answered,
            "counted_by_server": counted,
            "start_seconds": server and server.start_seconds,
        }
    )


def _compared(row, ceilings):
    """A cell beside the same signature without a server."""
    mine = [each for each in ceilings if each["signature"] == row["signature"]]
    best = max(each["histories_per_second"] for each in mine)
    single = statistics.median(each["call_ms"]["p50"] for each in mine if each["batch"] == 1)
    p50 = row["latency_ms"]["p50"]
    return {
        "ceiling_per_second": best,
        "share_of_ceiling": row["requests_per_second"] / best,
        "times_call": p50 and p50 / single,
    }


def _tell(text):
    print(f"  {text}", file=sys.stderr, flush=True)

"""The serving benchmark as files and as tables."""

from pathlib import Path

from keras_peterrec.benchmarks.report_files import write_report_files
from keras_peterrec.benchmarks.serve_plot import plot_rows

WIDTH = 140
# Title of a column and what stands in it, as it is printed.
COLUMNS = {
    "server": lambda row: row["server"],
    "signature": lambda row: row["signature"],
    "connections": lambda row: str(row["connections"]),
    "requests/s": lambda row: f"{row['requests_per_second']:,.0f}",
    **{
        f"{name} ms": lambda row, name=name: _number(row["latency_ms"][name])
        for name in ("p50", "p90", "p99")
    },
    "errors": lambda row: str(row["errors"]),
    "of ceiling": lambda row: f"{row['share_of_ceiling']:.0%}",
    "p50 / call": lambda row: _number(row["times_call"], 2),
    "client CPU": lambda row: f"{row['client_cpu']:.0%}",
}
CEILING_COLUMNS = {
    "signature": lambda row: row["signature"],
    "batch": lambda row: str(row["batch"]),
    "callers": lambda row: str(row["callers"]),
    "histories/s": lambda row: f"{row['histories_per_second']:,.0f}",
    "call p50 ms": lambda row: _number(row["call_ms"]["p50"]),
    "call p99 ms": lambda row: _number(row["call_ms"]["p99"]),
}
FIRST_COLUMNS = {
    "server": lambda row: row["server"],
    "signature": lambda row: row["signature"],
    "first ms": lambda row: _number(row["first_ms"]),
    "later ms": lambda row: _number(row["later_ms"]),
    "times": lambda row: _number(row["first_ms"] / row["later_ms"], 2),
}
CSV_FIELDS = (
    "server",
    "signature",
    "connections",
    "seconds",
    "requests",
    "errors",
    "requests_per_second",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "max_ms",
    "ceiling_per_second",
    "share_of_ceiling",
    "times_call",
    "client_cpu",
)
NOTES = """\
A request asks for one history. Every connection asks again as soon as it is answered; the
client is a process of its own on the same machine, and `client CPU` the share of a core that it
takes. `of ceiling`: requests a second against the most histories a second of the same signature
without a server, in batches. `p50 / call`: the median latency against that of a call without a
server.
"""


def write_report(result, folder):
    """Writes `metrics.json`, `table.md`, `table.csv` and `plot.png`.

    Args:
        result: dict, as from `benchmark_serve`.
        folder: path, made if need be.
    """
    rows = _csv_rows(result["rows"])
    write_report_files(result, folder, markdown(result), CSV_FIELDS, rows)
    plot_rows(result, Path(folder) / "plot.png")


def markdown(result):
    """The result as Markdown, the machine first."""
    machine, settings = result["machine"], result["settings"]
    model = settings["model"] or (
        f"made up: {settings['items']:,} items, {settings['hidden_dim']} channels, "
        f"{settings['blocks']} blocks, {settings['targets']:,} targets"
    )
    lines = [
        "# Serving",
        "",
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB. {machine['system']}; python "
        f"{machine['python']}, tensorflow {machine['tensorflow']}. Model: {model}; histories of "
        f"{settings['length']} items, {settings['seconds']:g} seconds a row.",
        "",
        *_table(result["rows"], COLUMNS),
        "",
        NOTES,
        "## Without a server",
        "",
        *_table(result["ceilings"], CEILING_COLUMNS),
    ]
    if result["firsts"]:
        lines += ["", "## The first request after the start", ""]
        lines += _table(result["firsts"], FIRST_COLUMNS)
    return "\n".join(lines) + "\n"


def print_result(result):
    """Prints the tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)  # cut columns say nothing
    for title, rows, columns in (
        ("benchmark serve", result["rows"], COLUMNS),
        ("without a server", result["ceilings"], CEILING_COLUMNS),
        ("the first request after the start", result["firsts"], FIRST_COLUMNS),
    ):
        if not rows:
            continue
        table = Table(title=title, title_justify="left")
        for name in columns:
            left = name in ("server", "signature")
            table.add_column(name, justify="left" if left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(cell(row) for cell in columns.values()))
        console.print(table)


def _number(value, decimals=1):
    return "" if value is None else f"{value:,.{decimals}f}"


def _table(rows, columns):
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(cell(row) for cell in columns.values()) + " |"


def _csv_rows(rows):
    for row in rows:
        latencies = {f"{name}_ms": value for name, value in row["latency_ms"].items()}
        yield {**row, **latencies}

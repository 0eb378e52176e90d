"""The training benchmark as files and as a table."""

from pathlib import Path

from keras_peterrec.benchmarks.report_files import write_report_files
from keras_peterrec.benchmarks.train_plot import plot_rows

MIB = 2**20
WIDTH = 140
# Title of a column and what stands in it, a number as it is printed.
COLUMNS = {
    "sweep": lambda row: row["sweep"],
    "items": lambda row: f"{row['items']:,}",
    "C": lambda row: str(row["hidden_dim"]),
    "B x L": lambda row: f"{row['batch_size']} x {row['length']}",
    "loss": lambda row: row["loss"],
    "side": lambda row: row["side"],
    "step ms": lambda row: f"{row['step_ms']['median']:.1f}",
    "min ms": lambda row: f"{row['step_ms']['min']:.1f}",
    "tokens/s": lambda row: f"{row['tokens_per_second']:,.0f}",
    "times ours": lambda row: f"{row['times_ours']:.2f}",
    "peak MiB": lambda row: f"{row['peak_bytes'] / MIB:,.0f}",
    "at start": lambda row: f"{row['start_bytes'] / MIB:,.0f}",
    "GFLOP/s": lambda row: f"{row['operations_per_second'] / 1e9:.1f}",
    "of products": lambda row: f"{row['share_of_products']:.0%}",
    "of square": lambda row: f"{row['share_of_square']:.0%}",
    "first s": lambda row: f"{row['first_seconds']:.1f}",
}
ROOFLINE = {
    **{name: COLUMNS[name] for name in ("sweep", "items", "C", "B x L", "loss")},
    "GFLOP": lambda row: f"{row['operations'] / 1e9:.2f}",
    "MB moved": lambda row: f"{row['bytes_moved'] / 1e6:.0f}",
    "FLOP/byte": lambda row: f"{row['operations'] / row['bytes_moved']:.0f}",
    "products GFLOP/s": lambda row: f"{row['matmul_rates']['products'] / 1e9:.0f}",
    "square GFLOP/s": lambda row: f"{row['matmul_rates']['square'] / 1e9:.0f}",
    "compute ms": lambda row: f"{row['operations'] / row['matmul_rates']['products'] * 1e3:.1f}",
}
CSV_FIELDS = (
    "sweep",
    "side",
    "items",
    "hidden_dim",
    "blocks",
    "length",
    "batch_size",
    "negatives",
    "loss",
    "precision",
    "tokens",
    "step_ms",
    "min_ms",
    "tokens_per_second",
    "times_ours",
    "peak_bytes",
    "start_bytes",
    "first_seconds",
    "operations",
    "bytes_moved",
    "operations_per_second",
    "share_of_products",
    "share_of_square",
)
NOTES = """\
Each side is a process of its own; they take turns. `times ours`: the step of a side divided
by ours, the median over the rounds. `peak`: the most resident memory, `at start` of it before
the model was built. `of products`, `of square`: matrix-product operations of the step per
second, as a share of what the machine reaches on the step's own three products, and on a
square of 2,048. `first s`: building and the first steps, which compile.

Operations of a step: 3 · 2 · N · (2·blocks · 3C² + S·C), N = B·L tokens, S scores a token.
"""
ROOFLINE_NOTES = """\
`compute`: the step's operations at the rate of its own matrix products. `memory`: the bytes
of the step, by the estimate that `TrainConfiguration.bytes_moved` documents, at the rate of
a large copy. The larger of the two bounds a step that overlaps neither with caches.
"""


def write_report(result, folder):
    """Writes `metrics.json`, `table.md`, `table.csv` and `plot.png`.

    Args:
        result: dict, as from `benchmark_train`.
        folder: path, made if need be.
    """
    rows = _csv_rows(result["rows"])
    write_report_files(result, folder, markdown(result), CSV_FIELDS, rows)
    plot_rows(result["rows"], Path(folder) / "plot.png", result["machine"]["processor"])


def markdown(result):
    """The result as Markdown, the machine first."""
    machine = result["machine"]
    bandwidth = machine["copy_bytes_per_second"]
    versions = {}
    for row in result["rows"]:
        versions.update(row["versions"])
    lines = [
        "# Training steps",
        "",
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB; a large copy moves "
        f"{bandwidth / 1e9:.1f} GB/s. {machine['system']}; python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f". {result['settings']['precision']}, {result['settings']['blocks']} blocks.",
        "",
        *_table(result["rows"], COLUMNS),
        "",
        NOTES,
        "## Bounds of our step",
        "",
        *_table(
            [row for row in result["rows"] if row["side"] == "keras_peterrec"],
            {
                **ROOFLINE,
                "memory ms": lambda row: f"{row['bytes_moved'] / bandwidth * 1e3:.1f}",
                "measured ms": COLUMNS["step ms"],
            },
        ),
        "",
        ROOFLINE_NOTES,
    ]
    for each in result["skipped"]:
        lines.append(
            f"Not measured: {each['items']:,} items, {each['loss']}, {each['side']}: "
            f"{each['reason']}."
        )
    return "\n".join(lines) + "\n"


def print_rows(result):
    """Prints the main columns on stdout."""
    from rich.console import Console
    from rich.table import Table

    left_out = ("sweep", "min ms", "at start", "of square", "first s")
    shown = [name for name in COLUMNS if name not in left_out]
    table = Table(title="benchmark train", title_justify="left")
    for name in shown:
        table.add_column(
            name, justify="left" if name in ("loss", "side") else "right", no_wrap=True
        )
    for row in result["rows"]:
        table.add_row(*(COLUMNS[name](row) for name in shown))
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)  # cut columns say nothing
    console.print(table)


def _table(rows, columns):
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(cell(row) for cell in columns.values()) + " |"


def _csv_rows(rows):
    for row in rows:
        step = row["step_ms"]
        yield {**row, "step_ms": step["median"], "min_ms": step["min"]}

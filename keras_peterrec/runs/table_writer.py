"""Tables written to a file piece by piece: Parquet, CSV or JSON lines."""

import contextlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from keras_peterrec.log.id_text import has_separator, written
from keras_peterrec.types import AnyPath

ENDINGS = (".parquet", ".csv", ".jsonl")


@contextlib.contextmanager
def table_writer(path: AnyPath, ending: str) -> Any:
    """Yields a function that adds a table's rows to a file; all tables have the same columns.

    Args:
        path: path of the file.
        ending: str, one of `ENDINGS`. In CSV, lists become texts, separated by spaces.
    """
    with contextlib.ExitStack() as stack:
        if ending == ".jsonl":
            file = stack.enter_context(open(path, "w", encoding="utf-8"))
            encode = json.JSONEncoder(ensure_ascii=False).encode
            yield lambda table: file.writelines(f"{encode(row)}\n" for row in table.to_pylist())
            return
        writers = []

        def write(table):
            if ending == ".csv":
                table = pa.table({n: _text(table.column(n)) for n in table.column_names})
            if not writers:  # only now its columns are known
                if ending == ".csv":
                    writer = pyarrow.csv.CSVWriter(path, table.schema)
                else:
                    writer = pyarrow.parquet.ParquetWriter(path, table.schema, compression="zstd")
                writers.append(stack.enter_context(writer))
            writers[0].write_table(table)

        yield write


def _text(column):
    """A column with its lists as texts; what holds white space is encoded, as in a history."""
    if not pa.types.is_list(column.type):
        return column
    lists = column.combine_chunks()
    values = lists.flatten()
    if pa.types.is_floating(values.type):
        values = values.cast(pa.string())
    elif has_separator(values.unique().to_pylist()):
        values = pa.array(map(written, values.to_pylist()), pa.string())
    return pc.binary_join(pa.ListArray.from_arrays(lists.offsets, values), " ")

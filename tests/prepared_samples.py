"""A small log in several files, whose prepared folder is known by reading it in memory."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.in_process import prepare_in_process
from keras_peterrec.log.prepared.reading import PreparedLog


def sample_columns(events=3_000, users=120, items=60, seed=0):
    """User ids, item ids and times with many ties."""
    draw = np.random.default_rng(seed)
    user_ids = [f"u{n}" for n in draw.integers(0, users, events)]
    item_ids = [f"ï{n}" for n in draw.zipf(1.4, events).clip(max=items)]
    return user_ids, item_ids, draw.integers(0, 40, events)


def write_files(folder, columns, times=None):
    """Writes the events as a CSV file, a compressed one and a Parquet file; returns their pattern.

    In the order of their names they hold the events in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(dict(zip(("user_id", "item_id", "timestamp"), columns)))
    third = len(table) // 3
    pa.csv.write_csv(table.slice(0, third), folder / "1.csv")
    pa.csv.write_csv(table.slice(third, third), folder / "plain")
    with gzip.open(folder / "2.csv.gz", "wb") as file:
        file.write((folder / "plain").read_bytes())
    (folder / "plain").unlink()
    pa.parquet.write_table(table.slice(2 * third), folder / "3.parquet", row_group_size=100)
    return str(folder / "[123].*")


def prepared(folder, columns=None, **options):
    """A PreparedLog of the sample, and its Log in memory."""
    columns = columns or sample_columns()
    log = Events.from_columns(*columns)
    prepare_in_process(log, Plan.of(log, **options), folder)
    return PreparedLog(folder), log


def contents(folder):
    """The bytes of every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}

"""The files of a benchmark's result."""

import csv
import io
from pathlib import Path

from keras_peterrec.transfer.json_file import write_json


def write_report_files(result, folder, markdown, fields, rows):
    """Writes `metrics.json`, `table.md` and `table.csv`.

    Args:
        result: dict, the content of `metrics.json`.
        folder: path, made if need be.
        markdown: str, the content of `table.md`.
        fields: sequence of str, the columns of `table.csv`.
        rows: iterable of dict, its rows; what is no column is left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", result)
    (folder / "table.md").write_text(markdown, encoding="utf-8")
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (folder / "table.csv").write_text(text.getvalue(), encoding="utf-8")

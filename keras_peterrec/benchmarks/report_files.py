"""The files of a benchmark's result."""

from pathlib import Path

from keras_peterrec.files.atomic_write import write_csv, write_text
from keras_peterrec.files.json_file import write_json


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
    write_text(folder / "table.md", markdown)
    write_csv(folder / "table.csv", fields, rows)

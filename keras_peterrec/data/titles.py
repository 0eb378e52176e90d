"""Titles of items, from a file of the user's."""

import csv

from keras_peterrec.errors import InputError


def read_titles(path):
    """Reads titles of items from a CSV file with the columns `item_id` and `title`.

    Args:
        path: path.

    Returns:
        dict from item to title.

    Raises:
        InputError: if the file cannot be read, or lacks a column.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"item_id", "title"} - set(rows.fieldnames or [])
            if missing:
                raise InputError(
                    "`titles` should be a CSV file with the columns item_id and title. "
                    f"Received: {str(path)!r}, without {' and '.join(sorted(missing))}."
                )
            return {row["item_id"]: row["title"] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"`titles` should be a CSV file that can be read. Received: {str(path)!r}: {error}."
        ) from error

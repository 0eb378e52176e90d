"""Items and their titles, from files of the user's."""

import csv

from keras_peterrec.errors import InputError


def read_titles(path, argument="titles"):
    """The titles of items, by item, in a CSV file with the columns `item_id` and `title`.

    Raises:
        InputError: the file, which messages call `argument`, cannot be read, or lacks a column.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"item_id", "title"} - set(rows.fieldnames or [])
            if missing:
                raise InputError(
                    f"`{argument}` should be a CSV file with the columns item_id and title. "
                    f"Received: {str(path)!r}, without {' and '.join(sorted(missing))}."
                )
            return {row["item_id"]: row["title"] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"`{argument}` should be a CSV file that can be read. Received: {str(path)!r}: {error}."
        ) from error


def read_item_list(path, argument):
    """The items of a text file, one a line; lines that are empty or begin with `# ` say nothing.

    Raises:
        InputError: the file, which messages call `argument`, cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"`{argument}` should be a text file that can be read. "
            f"Received: {str(path)!r}: {error}."
        ) from error
    return [line for line in lines if line and not line.startswith("# ")]

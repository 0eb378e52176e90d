"""Items and their titles, from files of the user's."""

import csv

from keras_peterrec.errors import InputError


def read_titles(path, argument="titles"):
    """Reads titles of items from a CSV file with the columns `item_id` and `title`.

    Args:
        argument: str. What messages call it. Defaults to `"titles"`.

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
                    f"`{argument}` should be a CSV file with the columns item_id and title. "
                    f"Received: {str(path)!r}, without {' and '.join(sorted(missing))}."
                )
            return {row["item_id"]: row["title"] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"`{argument}` should be a CSV file that can be read. Received: {str(path)!r}: {error}."
        ) from error


def read_item_list(path, argument):
    """Reads a text file of items, one a line; lines that are empty or begin with `# ` say nothing.

    Args:
        argument: str. What messages call it.

    Returns:
        list of str.

    Raises:
        InputError: if the file cannot be read.
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

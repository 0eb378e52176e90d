"""Reads MovieLens from a local folder, in each of its file formats."""

import dataclasses
from pathlib import Path

from keras_peterrec.errors import InputError

# The order of the 0/1 columns of u.item.
GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
# MovieLens-1M writes an occupation as its position here.
OCCUPATIONS_1M = [
    "other/not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
]
AGE_GROUPS = {
    0: "under 18",
    18: "18-24",
    25: "25-34",
    35: "35-44",
    45: "45-49",
    50: "50-55",
    56: "56+",
}
_FILES = {
    "100k": ("u.data", "u.item", "u.user"),
    "1m": ("ratings.dat", "movies.dat", "users.dat"),
}


@dataclasses.dataclass(frozen=True)
class MovieLensTables:
    """The ratings, films and users of MovieLens, the same from every file format.

    A rating is who rated (`user_ids`) which film (`item_ids`) when, in seconds. Titles
    (`"Title (Year)"`) and genres are by film; `users` has what `profile` returns of each.
    """

    user_ids: list[str]
    item_ids: list[str]
    timestamps: list[int]
    titles: dict[str, str]
    genres: dict[str, tuple[str, ...]]
    users: dict[str, dict[str, str | None]]


def read_movielens_files(folder: str | Path, version: str) -> MovieLensTables:
    """Reads the tables in a folder with the original files, or with RecBole's.

    These are `u.data`, `u.item`, `u.user` (100k), or `ratings.dat`, `movies.dat`, `users.dat` (1m),
    or `ml-VERSION.inter`, `.item`, `.user` (RecBole's atomic files).

    Raises:
        InputError: the folder has none of these, or a file is malformed.
    """
    folder = Path(folder)
    readers = {"100k": _read_100k, "1m": _read_1m}
    for names, reader in [
        (_FILES[version], readers[version]),
        (atomic_names(version), _read_atomic),
    ]:
        paths = [folder / name for name in names]
        if all(path.is_file() for path in paths):
            return reader(*paths)
    forms = " or ".join(", ".join(names) for names in (_FILES[version], atomic_names(version)))
    raise InputError(f"`path` should be a folder with {forms}. Received: {folder}.")


def write_movielens_files(tables: MovieLensTables, folder: str | Path, version: str) -> None:
    """Writes the tables as RecBole's atomic files, which `read_movielens_files` reads."""
    ratings = zip(tables.user_ids, tables.item_ids, tables.timestamps)
    items = (
        (item, title, "", " ".join(tables.genres[item])) for item, title in tables.titles.items()
    )
    users = (
        (user, profile["gender"], profile["age_years"] or profile["age"], profile["occupation"])
        for user, profile in tables.users.items()
    )
    headers = [
        "user_id:token\titem_id:token\ttimestamp:float",
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq",
        "user_id:token\tgender:token\tage:token\toccupation:token",
    ]
    for name, header, rows in zip(atomic_names(version), headers, (ratings, items, users)):
        lines = (header, *("\t".join(map(str, row)) for row in rows))
        text = "".join(f"{line}\n" for line in lines)
        (Path(folder) / name).write_text(text, encoding="utf-8")


def atomic_names(version: str) -> tuple[str, ...]:
    """Returns the names of RecBole's three files."""
    return tuple(f"ml-{version}.{ending}" for ending in ("inter", "item", "user"))


def profile(gender: str, age: str | float, occupation: str) -> dict[str, str | None]:
    """One user's labels from the values in the files: `gender`, `age` (a group), `occupation`, and
    `age_years`, `None` where only the group is known.

    Args:
        age: an age, the lower bound of a group, or a group's name.
        occupation: a name, or the number that stands for it in MovieLens-1M.
    """
    years, group = None, str(age)
    if age not in AGE_GROUPS.values():
        years = f"{float(age):g}"
        group = AGE_GROUPS[max(start for start in AGE_GROUPS if start <= float(age))]
    if occupation.isdigit():
        occupation = OCCUPATIONS_1M[int(occupation)]
    return {"gender": gender, "age": group, "occupation": occupation, "age_years": years}


def _read_100k(ratings, items, users):
    def film(row):
        flags = row[5 : 5 + len(GENRES_100K)]
        if len(flags) < len(GENRES_100K):
            raise ValueError(f"{len(row)} fields")
        genres = (name for name, flag in zip(GENRES_100K, flags) if flag == "1")
        return row[0], row[1], tuple(genres)

    def user(row):
        return row[0], profile(row[2], row[1], row[3])

    return _tables(_rows(ratings, "\t", _rating), _rows(items, "|", film), _rows(users, "|", user))


def _read_1m(ratings, items, users):
    def film(row):
        return row[0], row[1], tuple(row[2].split("|"))

    def user(row):
        return row[0], profile(*row[1:4])

    return _tables(
        _rows(ratings, "::", _rating),
        _rows(items, "::", film),
        _rows(users, "::", user),
    )


def _read_atomic(ratings, items, users):
    def rating(row):
        return row["user_id"], row["item_id"], int(float(row["timestamp"]))

    def film(row):
        genres = row["genre"] if "genre" in row else row["class"]
        return row["item_id"], _atomic_title(row), tuple(genres.split())

    def user(row):
        return row["user_id"], profile(row["gender"], row["age"], row["occupation"])

    return _tables(
        _atomic_rows(ratings, rating),
        _atomic_rows(items, film),
        _atomic_rows(users, user),
    )


def _rating(row):
    return row[0], row[1], int(row[3])


def _atomic_title(row):
    """Returns `"Title (Year)"`, as in the original files."""
    title, year = row["movie_title"], row.get("release_year", "")
    if title == "unkonwn":  # Misspelt in the file, for the one film without a title.
        return "unknown"
    return f"{title} ({year})" if year else title


def _tables(ratings, films, users):
    columns = [list(column) for column in zip(*ratings)]
    films = list(films)
    tables = MovieLensTables(
        *(columns or [[], [], []]),
        titles={item: title for item, title, _ in films},
        genres={item: genres for item, _, genres in films},
        users=dict(users),
    )
    for kind, rated, known in (
        ("film", tables.item_ids, tables.titles),
        ("user", tables.user_ids, tables.users),
    ):
        missing = sorted(set(rated).difference(known))
        if missing:
            raise InputError(
                f"`path` should be a folder that describes every {kind} with a rating. "
                f"Received: no {kind} {missing[0]!r}."
            )
    return tables


def _atomic_rows(path, parse):
    """Yields `parse(row)` for each row, a dict by the names in the header."""
    with open(path, encoding="utf-8", errors="replace") as file:
        header = file.readline().rstrip("\r\n").split("\t")
    # A header's cell is "user_id:token".
    names = [cell.partition(":")[0] for cell in header]
    return _rows(
        path,
        "\t",
        lambda row: parse(dict(zip(names, row, strict=True))),
        encoding="utf-8",
        skip=1,
    )


def _rows(path, separator, parse, encoding="latin-1", skip=0):
    """Yields `parse(fields)` for each line; the error names a malformed line."""
    with open(path, encoding=encoding, errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if number <= skip:
                continue
            line = line.rstrip("\r\n")
            try:
                yield parse(line.split(separator))
            except (ValueError, IndexError, KeyError, TypeError) as error:
                raise InputError(
                    f"`path` should have well-formed lines of MovieLens in {path}. "
                    f"Received: {line[:80]!r} in line {number}."
                ) from error

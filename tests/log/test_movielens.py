"""MovieLens: the same tables from every file format."""

import pytest
from movielens_samples import (
    RATINGS,
    assert_same,
    write_1m,
    write_100k,
    write_atomic,
)

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources.movielens import DOMAINS, MovieLens
from keras_peterrec.log.sources.movielens_files import (
    read_movielens_files,
    write_movielens_files,
)


def as_events(log):
    users, items = log.user_ids[log.users], log.item_ids[log.items]
    return {*zip(users.tolist(), items.tolist(), log.timestamps.tolist())}


def test_every_file_format_gives_the_same_data(tmp_path):
    found = []
    for number, (version, write) in enumerate(
        [
            ("100k", write_100k),
            ("100k", write_atomic),
            ("1m", write_1m),
            ("1m", lambda folder: write_atomic(folder, "1m", "genre")),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder)
        found.append(MovieLens(version, path=folder))
    for other in found[1:]:
        assert_same(found[0], other)
    assert found[0].titles["10"] == "Nénette et Boni (1996)"
    occupations = found[2].labels("occupation")
    assert occupations.values.tolist() == ["writer", "other/not specified", "writer"]


def test_written_files_are_read_back_as_they_were(tmp_path):
    write_100k(tmp_path)
    tables = read_movielens_files(tmp_path, "100k")
    (tmp_path / "copy").mkdir()
    write_movielens_files(tables, tmp_path / "copy", "100k")
    assert read_movielens_files(tmp_path / "copy", "100k") == tables


def test_a_film_belongs_to_the_first_domain_that_fits(tmp_path):
    write_100k(tmp_path)
    movielens = MovieLens(path=tmp_path)
    items = {name: set(movielens.domain(name).item_ids) for name in DOMAINS}
    assert items == {
        "all": {"10", "20", "30", "40", "50"},
        "source": {"10", "50"},
        "children": {"20"},
        "scifi": {"30"},
        "action": {"40"},
    }
    assert as_events(movielens.domain("all")) == set(RATINGS)
    assert as_events(movielens.domain("children")) == {("1", "20", 3), ("10", "20", 4)}
    assert movielens.domain("scifi").name == "movielens-100k/scifi"
    assert repr(movielens) == "MovieLens(version='100k', events=7, users=3, items=5)"
    second = {name: column[1] for name, column in movielens.items.items()}
    assert second == {
        "item_id": "20",
        "title": "Dark Ark (1990)",
        "genres": "Action|Children's|Horror",
    }


@pytest.mark.parametrize(
    ("ages", "groups"),
    [
        ((7, 17, 18), ["under 18", "under 18", "18-24"]),
        ((24, 25, 34), ["18-24", "25-34", "25-34"]),
        ((35, 44, 45), ["35-44", "35-44", "45-49"]),
        ((49, 50, 55), ["45-49", "50-55", "50-55"]),
        ((55, 56, 73), ["50-55", "56+", "56+"]),
    ],
)
def test_ages_fall_into_groups_in_natural_order(tmp_path, ages, groups):
    write_100k(tmp_path, ages)
    labels = MovieLens(path=tmp_path).labels("age")
    assert labels.user_ids.tolist() == ["1", "2", "10"]
    assert labels.values.tolist() == groups
    assert labels.order(labels.values) == [*dict.fromkeys(groups)]


def test_ages_in_years_are_numbers_where_the_files_have_them(tmp_path):
    write_100k(tmp_path, (17, 34, 73))
    labels = MovieLens(path=tmp_path).labels("age_years")
    assert labels.values.tolist() == ["17", "34", "73"]
    with pytest.raises(InputError, match="`column` should be one of gender, age, occupation."):
        write_1m(tmp_path)
        MovieLens("1m", tmp_path).labels("age_years")


def test_an_unpacked_archive_inside_the_folder_is_found(tmp_path):
    (tmp_path / "ml-1m").mkdir()
    write_1m(tmp_path / "ml-1m")
    assert len(MovieLens("1m", path=tmp_path).domain("all")) == len(RATINGS)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("u.data", "1\t10\t4\n", "'1.*line 1"),
        ("u.data", "1\t10\t4\t5\n1\t10\t4\tnoon\n", "u.data.*noon.*line 2"),
        ("u.data", "1\t99\t4\t5\n", "describes every film.*no film '99'"),
        ("u.data", "7\t10\t4\t5\n", "describes every user.*no user '7'"),
        ("u.item", "10|Title|1990\n", "u.item.*line 1"),
        ("u.user", "1|old|F|writer|0\n", "u.user.*line 1"),
        ("u.user", "1|-3|F|writer|0\n", "u.user.*line 1"),
    ],
)
def test_errors_name_malformed_files(tmp_path, file, text, message):
    write_100k(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        MovieLens(path=tmp_path)
    assert "\n" not in str(caught.value)


def test_errors_name_malformed_atomic_files(tmp_path):
    write_atomic(tmp_path)
    (tmp_path / "ml-100k.user").write_text("user_id:token\tage:token\n1\t20\n")
    with pytest.raises(InputError, match="ml-100k.user.*line 2"):
        MovieLens(path=tmp_path)


def test_other_mistakes_raise(tmp_path):
    with pytest.raises(InputError, match="`version`.*100k, 1m. Received: '20m'"):
        MovieLens("20m")
    with pytest.raises(InputError, match="`path`.*ratings.dat.*ml-1m.inter"):
        MovieLens("1m", path=tmp_path)
    write_100k(tmp_path)
    with pytest.raises(InputError, match="`name`.*scifi.*Received: 'sci-fi'"):
        MovieLens(path=tmp_path).domain("sci-fi")
    with pytest.raises(InputError, match="`column`.*gender.*Received: 'zip'"):
        MovieLens(path=tmp_path).labels("zip")

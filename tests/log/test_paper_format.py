"""The official code's files."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.paper_format import (
    read_paper_finetune,
    read_paper_labels,
    read_paper_pretrain,
)

DEMO = Path(__file__).parents[2].parent / "shared" / "data" / "peterrec_demo"

ITEMS = st.lists(st.integers(1, 10**12), min_size=1, max_size=9)
PADDING = st.integers(0, 4)
USERS = st.lists(st.tuples(PADDING, ITEMS, ITEMS), min_size=2, max_size=8)


def join(padding, items):
    return ",".join(map(str, [0] * padding + items))


def histories(log):
    """The items of each user by timestamp."""
    found = {}
    events = zip(log.user_ids[log.users], log.timestamps, log.item_ids[log.items])
    for user, time, item in sorted(events):
        found.setdefault(user, []).append((int(time), item))
    return found


@settings(deadline=None)
@given(USERS)
def test_pretraining_lines_become_histories_without_padding(tmp_path_factory, users):
    path = tmp_path_factory.mktemp("paper") / "pretrain.csv"
    path.write_text("\n".join(join(padding, items) for padding, items, _ in users))
    assert histories(read_paper_pretrain(path)) == {
        str(line): [*enumerate(map(str, items))] for line, (_, items, _) in enumerate(users)
    }


@settings(deadline=None)
@given(USERS)
def test_finetuning_lines_become_two_logs_that_share_users(tmp_path_factory, users):
    path = tmp_path_factory.mktemp("paper") / "finetune.csv"
    lines = (f"{join(padding, a)},,{join(0, b)}\n" for padding, a, b in users)
    path.write_text("".join(lines))
    source, target = read_paper_finetune(path)
    for line, (_, items, targets) in enumerate(users):
        assert histories(source)[str(line)] == [*enumerate(map(str, items))]
        expected = [*enumerate(map(str, targets), start=len(items))]
        assert histories(target)[str(line)] == expected


def test_a_user_of_padding_only_has_no_source_events_and_keeps_the_number(tmp_path):
    path = tmp_path / "finetune.csv"
    path.write_text("0,0,,7\n0,5,,8\n3,4,,9\n")
    source, target = read_paper_finetune(path)
    assert source.user_ids.tolist() == ["1", "2"]
    assert histories(target) == {"0": [(0, "7")], "1": [(1, "8")], "2": [(2, "9")]}


def test_a_label_is_the_only_target_of_a_line(tmp_path):
    path = tmp_path / "gender.csv"
    path.write_text("0,5,,1\n3,4,,0\n6,7,,10\n6,7,,9\n")
    source, labels = read_paper_labels(path)
    assert source.user_ids.tolist() == labels.user_ids.tolist() == ["0", "1", "2", "3"]
    assert labels.values.tolist() == ["1", "0", "10", "9"]
    assert labels.order(labels.values) == ["0", "1", "9", "10"]


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_paper_pretrain, "1,2\n3,x\n", "'3,x' in line 2 of .*a.csv"),
        (read_paper_pretrain, "1,2\n3,,4\n", "line 2"),
        (read_paper_pretrain, "1,2\n\n3,4\n", "'' in line 2"),
        (read_paper_pretrain, "1,2\n3,-4\n", "line 2"),
        (read_paper_pretrain, "1,2\n3,0,4\n", "0 on the left only.*line 2"),
        (read_paper_pretrain, "1,2\n" + "9" * 30 + "\n", "line 2"),
        (read_paper_pretrain, "", "should hold items"),
        (read_paper_pretrain, "0,0\n0,0\n", "should hold items"),
        (read_paper_pretrain, "1,2\n", "at least two users"),
        (read_paper_finetune, "1,2,,3\n4,5\n", "'4,5' in line 2"),
        (read_paper_finetune, "1,2,,3\n4,,5,,6\n", "line 2"),
        (read_paper_finetune, "1,2,,3\n4,,\n", "line 2"),
        (read_paper_finetune, "1,2,,3\n4,,0\n", "targets other than 0.*line 2"),
        (read_paper_labels, "1,2,,3\n4,,5,6\n", "one label.*'5,6' in line 2"),
    ],
)
def test_errors_name_malformed_lines(tmp_path, reader, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        reader(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(InputError, match="file that exists"):
        read_paper_pretrain(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="file that exists"):
        read_paper_labels(tmp_path / "gone.csv")


def test_official_demo_files():
    if not DEMO.exists():
        pytest.skip("the data is not here")
    pretrain, finetune = sorted(DEMO.glob("*.csv"), reverse=True)
    source = read_paper_pretrain(pretrain)
    same_source, target = read_paper_finetune(finetune)
    assert source.fingerprint() == same_source.fingerprint()
    assert set(target.user_ids) == set(source.user_ids)
    assert histories(target)["0"] == [(9, "1845"), (10, "1846"), (11, "1844")]
    assert histories(source)["9"][0] == (0, "31544")

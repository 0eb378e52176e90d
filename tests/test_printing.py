"""What people see of a run: its metrics beside its baselines."""

import io

import pytest
from rich.console import Console

from keras_peterrec.printing import print_description, print_metrics, print_table

TEST = {"ndcg@10": 0.1234, "new_ndcg@10": 0.2345}
RESULT = {
    "command": "pretrain",
    "metrics": {"validation": {"ndcg@10": 0.1111}, "test": TEST},
    "intervals": {"test": {"ndcg@10": [0.1, 0.1456]}},
    "baselines": [
        {"name": "popularity", "test": {"ndcg@10": 0.05}},
        {"name": "SLIT", "test": {"ndcg@10": 0.2, "new_ndcg@10": 0.21}},
        {"name": "EASE", "test": {"ndcg@10": 0.3, "new_ndcg@10": 0.31}},
    ],
}


def printed(capsys, monkeypatch, **changes):
    monkeypatch.setenv("COLUMNS", "80")
    print_metrics({**RESULT, **changes})
    return capsys.readouterr().out


def line(text, begin):
    [found] = [line.split() for line in text.splitlines() if line.startswith(begin)]
    return found


def test_intervals_and_all_baselines_stand_beside_the_metrics(capsys, monkeypatch):
    text = printed(capsys, monkeypatch)
    assert line(text, "metric") == [
        *("metric", "validation", "test", "95", "%"),
        *("popularity", "SLIT", "EASE"),
    ]
    assert line(text, "ndcg@10") == [
        *("ndcg@10", "0.1111", "0.1234", "[0.100,", "0.146]"),
        *("0.0500", "0.2000", "0.3000"),
    ]
    assert line(text, "new_ndcg@10") == ["new_ndcg@10", "0.2345", "0.2100", "0.3100"]
    assert max(map(len, text.splitlines())) <= 80


def test_the_way_that_is_served_is_not_printed_twice(capsys):
    test = {"ndcg@10": 0.1234, "new_ndcg@10": 0.1234, "repeat_ndcg@10": 0.0321}
    print_metrics({"command": "pretrain", "metrics": {"test": test}})
    text = capsys.readouterr().out
    assert "repeat_ndcg@10" in text and "new_ndcg@10" not in text


def test_many_baselines_are_two_tables_with_whole_numbers(capsys, monkeypatch):
    """Of `refresh`: five baselines, and metrics with long names."""
    names = ["host before", "popularity", "last item again", "SLIT", "EASE"]
    test = {"sampled_ndcg@5": 0.6234, "filtered_ndcg@10": 0.1234}
    intervals = {"test": {name: [0.1, 0.1456] for name in test}}
    changes = {
        "command": "refresh",
        "metrics": {"validation": test, "test": test},
        "intervals": intervals,
        "baselines": [{"name": name, "test": test} for name in names],
    }
    text = printed(capsys, monkeypatch, **changes)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("0.6234") == 7 and text.count("[0.100, 0.146]") == 2
    assert text.count("sampled_ndcg@5") == 2 and all(name.split()[0] in text for name in names)


@pytest.mark.parametrize("missing", [("intervals", "baselines"), ("baselines",), ("intervals",)])
def test_what_a_result_does_not_have_is_not_shown(missing, capsys):
    result = {"command": "evaluate", "metrics": {"test": TEST}}
    result |= {name: RESULT[name] for name in ("intervals", "baselines") if name not in missing}
    print_metrics(result)
    text = capsys.readouterr().out
    assert ("95 %" in text) == ("intervals" not in missing)
    assert ("SLIT" in text) == ("baselines" not in missing) and "validation" not in text


def test_the_linear_part_and_the_advice_are_lines_of_their_own(capsys, monkeypatch):
    linear = {"weight": 0.53, "fade": 0.98, "penalty": 300.0}
    text = printed(capsys, monkeypatch, linear=linear, advice="try more epochs")
    assert text.splitlines()[-2:] == [
        "linear part: weight 0.53 (fade 0.98, penalty 300)",
        "try more epochs",
    ]
    text = printed(capsys, monkeypatch, linear={"weight": 0.0, "fade": None, "penalty": 3.0})
    assert text.splitlines()[-1] == "linear part: weight 0 (penalty 3)"


def test_rows_of_a_description_may_have_different_keys(capsys):
    rows = [{"task": "films", "method": "head"}, {"task": "age", "method": "patch", "users": 1200}]
    print_description({"kind": "host", "tasks": rows})
    shown = capsys.readouterr().out
    assert "films" in shown and "1,200" in shown


def test_a_wide_column_takes_nothing_from_its_neighbours():
    console = Console(width=80, file=io.StringIO())
    numbers = ["patch", "learning_rate", "dropout", "hide_rate", "validation log_loss"]
    row = ["2 best", "bottleneck+item_lora:8", "0.00347", "0.173", "0.402", "0.2683"]
    print_table(console, "tune transfer", ["trial"], numbers, [row])
    printed = console.file.getvalue()
    assert "0.2683" in printed and "bottleneck+item_lora:8" in printed
    assert max(map(len, printed.splitlines())) <= 80

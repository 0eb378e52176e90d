"""The examples of the public names run, as a reader of their docstrings would run them."""

import doctest
import gzip
import inspect
import re

import keras
import numpy as np
import pytest
from linear_samples import random_table
from serving_samples import LONGER, make_task

import keras_peterrec as kp
from keras_peterrec.commands import COMMANDS

# Run by the README and the guides, or by a net that tests do not have.
RUN_ELSEWHERE = {command.settings.command.replace(" ", "_") for command in COMMANDS}
RUN_ELSEWHERE |= {"linear", "MovieLens", "PreparedLog", "StreamedBatches"}
USERS, EVENTS = 60, 8
TEXTS = {
    "items.csv": ["item_id,genre", *(f"s{n},g{n % 3}" for n in range(12))],
    "users.csv": ["user_id,gender", *(f"u{n},{'FM'[n % 2]}" for n in range(USERS))],
    "clicks.csv": ["user_id,item_id,timestamp", *(f"u{n},s{n},1" for n in range(9))],
}


class Shapes(doctest.OutputChecker):
    """TensorFlow writes `(1, 2)` as `TensorShape([1, 2])`; other backends do not."""

    def check_output(self, want, got, optionflags):
        got = re.sub(r"TensorShape\(\[(.*?)\]\)", r"(\1)", got)
        return super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def folder(causal_export, tmp_path_factory):
    """What the examples find where they run: a host, two tasks, an export, and files."""
    folder, host = tmp_path_factory.mktemp("examples"), causal_export.host
    host.save(folder / "runs" / "host")
    for name, kind in (("films", "recommendation"), ("gender", "classification")):
        make_task(host, kind, **LONGER).save(folder / "runs" / name, host)
    (folder / "export" / "peterrec").mkdir(parents=True)
    (folder / "export" / "peterrec" / "1").symlink_to(causal_export.out)
    for name, lines in TEXTS.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "clicks.csv.gz").write_bytes(gzip.compress((folder / "clicks.csv").read_bytes()))
    return folder


@pytest.fixture(scope="module")
def data():
    """What the examples take for granted, but for what they may train."""
    random = np.random.default_rng(0)
    users = np.repeat([f"u{n}" for n in range(USERS)], EVENTS)
    log = kp.Events.from_columns(
        users,
        [f"s{n}" for n in random.integers(0, 12, len(users))],
        np.tile(np.arange(EVENTS), USERS),
    )
    targets = [f"t{n}" for n in random.integers(0, 4, USERS)]
    target_log = kp.Events.from_columns(users[::EVENTS], targets, np.full(USERS, EVENTS))
    sequences = kp.encode_log(log)[0]
    starts, stops = sequences.training_windows(12)
    sexes, ages = ["FM"[n % 2] for n in range(USERS)], [20 + n for n in range(USERS)]
    return {
        **{name: getattr(kp, name) for name in kp.__all__},
        **{"np": np, "keras": keras, "log": log, "target_log": target_log},
        **{"sequences": sequences, "items": sequences.items, "starts": starts, "stops": stops},
        "labels": kp.Labels.from_columns(users[::EVENTS], sexes, "gender"),
        "numbers": kp.Labels.from_columns(users[::EVENTS], ages, "age"),
        "classes": np.zeros(len(starts), "int32"),
        "histories": ["s1 s2", "s3"],
        "frame": {"user_id": ["a", "b"], "item_id": ["s1", "s2"], "timestamp": [1, 2]},
        "linear_part": random_table(96, 200, seed=0).part(),
    }


def models_of(text, folder):
    """A host and a task for an example that names them."""
    if not re.search(r"\b(host|films|pretrainer)\b", text):
        return {}
    host = kp.Host.load(folder / "runs" / "host")
    films = kp.Task.load(folder / "runs" / "films", host) if "films" in text else None
    return {"host": host, "films": films, "pretrainer": host.pretrainer}


@pytest.mark.parametrize("name", [name for name in kp.__all__ if name not in RUN_ELSEWHERE])
def test_an_example_runs(name, data, folder, monkeypatch):
    monkeypatch.chdir(folder)
    text = inspect.getdoc(getattr(kp, name))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    names = {**data, **models_of(text, folder)}
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert example.examples, "it should have an example"
    runner = doctest.DocTestRunner(Shapes(), verbose=False, optionflags=flags)
    told = []
    runner.run(example, out=told.append)
    assert runner.failures == 0, "".join(told)

"""The commands as a person types them."""

import json
import os
import subprocess
import sys
import time

import pytest
from commands import run_here

from keras_peterrec import cli
from keras_peterrec.errors import InputError
from keras_peterrec.patches.insertion import INSERTIONS
from keras_peterrec.runs.export_arguments import choose_way
from keras_peterrec.transfer.strategies import METHODS


def run(*arguments):
    """In a process of its own, as a person does; `run_here` wherever that is not the point."""
    return subprocess.run(
        [sys.executable, "-m", "keras_peterrec", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )


@pytest.fixture(scope="module")
def small_log(tmp_path_factory):
    """A CSV log of 40 users who walk around a circle of 10 items."""
    rows = ["user_id,item_id,timestamp,device"]
    for user in range(40):
        rows += [f"u{user},i{(user + step) % 10},{step},phone" for step in range(8)]
    path = tmp_path_factory.mktemp("data") / "log.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def pretrained(small_log, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "host"
    done = run(
        "pretrain",
        "--log",
        small_log,
        "--out",
        out,
        "--hidden-dim",
        8,
        "--blocks",
        1,
        "--max-length",
        10,
        "--epochs",
        1,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    return out, done


def test_json_is_all_that_stands_on_stdout(pretrained):
    out, done = pretrained
    assert json.loads(done.stdout) == json.loads((out / "metrics.json").read_text())
    assert "epoch" in done.stderr


def test_finished_run_prints_a_table(pretrained, small_log):
    out, _ = pretrained
    done = run_here(
        "pretrain",
        "--log",
        small_log,
        "--out",
        out,
        "--hidden-dim",
        8,
        "--blocks",
        1,
        "--max-length",
        10,
        "--epochs",
        1,
    )
    assert done.returncode == 0, done.stderr
    assert "ndcg@10" in done.stdout and "popularity" in done.stdout
    assert "already finished" in done.stderr and "epoch" not in done.stderr


def test_whole_chain(pretrained, small_log, tmp_path):
    host, _ = pretrained
    labels = tmp_path / "users.csv"
    labels.write_text(
        "user_id,kind\n" + "".join(f"u{n},{'even' if n % 2 == 0 else 'odd'}\n" for n in range(40))
    )
    task, model = tmp_path / "kind", tmp_path / "export" / "1"
    for arguments in (
        (
            "transfer",
            "--host",
            host,
            "--log",
            small_log,
            "--labels",
            labels,
            "--column",
            "kind",
            "--out",
            task,
            "--epochs",
            1,
        ),
        ("evaluate", "--run", task),
        ("inspect", task),
        ("export", "--host", host, "--task", task, "--out", model, "--k", 3, "--incremental"),
        ("inspect", model),
        ("export", "--base", model.parent, "--remove-task", "kind"),
        ("export", "--check", model.parent),
    ):
        done = run_here(*arguments)
        assert done.returncode == 0, done.stderr
    assert f"{model.parent / '2'}: nothing wrong" in done.stdout  # the newest
    done = run("predict", "--model", model, "--task", "kind", "--history", "i1 i2 i3", "--json")
    answer = json.loads(done.stdout)["kind"]["i1 i2 i3"]
    assert sorted(answer["classes"]) == ["even", "odd"]
    assert sum(answer["scores"]) == pytest.approx(1, abs=1e-5)
    done = run_here("predict", "--model", model, "--history", "i1 i2 i3")
    assert done.returncode == 0 and "serving_default" in done.stdout
    (model / "assets" / "vocabulary.txt").unlink()
    done = run_here("export", "--check", model, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"] == ["assets: assets/vocabulary.txt is missing"]


def test_help_is_quick_and_names_every_command():
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = run("--help")
        times.append(time.perf_counter() - began)
    assert done.returncode == 0
    for command in ("quickstart", "pretrain", "transfer", "evaluate", "export", "serve", "predict"):
        assert command in done.stdout
    # TensorFlow alone takes seconds to import.
    modules = subprocess.run(
        [
            sys.executable,
            "-c",
            "import keras_peterrec.cli, sys; print('tensorflow' in sys.modules, "
            "'keras' in sys.modules, 'numpy' in sys.modules)",
        ],
        capture_output=True,
        text=True,
    ).stdout
    assert modules.split() == ["False", "False", "False"]
    assert min(times) < 2.0


def test_choices_are_those_of_the_package():
    assert tuple(METHODS) == cli.METHODS
    assert tuple(INSERTIONS) == cli.INSERTIONS


@pytest.mark.parametrize(
    ("start", "content", "message"),
    [
        (run, "user_id,timestamp\na,1\n", "item_id"),
        (run_here, "user_id,item_id,timestamp\n", "`"),
        (run_here, "user_id,item_id,timestamp\na,x,1\na,y,2\na,z,3\n", "two users"),
        (run_here, "user_id,item_id,timestamp\na,x y,1\nb,y,2\n", "white space"),
        (run_here, "user_id,item_id,timestamp\na,x,noon\nb,y,2\n", "timestamp"),
    ],
)
def test_bad_logs_end_with_one_line_and_status_2(start, content, message, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(content)
    done = start("pretrain", "--log", log, "--out", tmp_path / "host")
    assert done.returncode == 2
    lines = done.stderr.strip().split("\n")
    assert lines[-1].startswith("keras-peterrec: error: ") and message in lines[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "host").exists()


def test_bad_folders_end_with_one_line_and_status_2(pretrained, small_log, tmp_path):
    host, _ = pretrained
    labels = tmp_path / "users.csv"
    labels.write_text("user_id,kind\nu1,same\nu2,same\n")
    cases = [
        (("--host", tmp_path), "host.json"),
        (("--host", host, "--bottleneck", 0), "`bottleneck` should be a positive integer"),
        (("--host", host), "class"),
    ]
    for arguments, message in cases:
        done = run_here(
            "transfer",
            *arguments,
            "--log",
            small_log,
            "--labels",
            labels,
            "--column",
            "kind",
            "--out",
            tmp_path / "task",
        )
        assert done.returncode == 2, done.stderr
        assert message in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "task").exists()
    old = tmp_path / "old"
    old.mkdir()
    saved = json.loads((host / "host.json").read_text())
    (old / "host.json").write_text(json.dumps({**saved, "format_version": 99}))
    done = run_here("export", "--host", old, "--out", tmp_path / "1")
    assert done.returncode == 2 and "format version" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--host and --out for a new export, --base for the next version of one, or --check"),
        (("--base", "x", "--out", "y"), "Received: --base and --out."),
        (("--out", "export/1"), "`host` should be given with --out"),
        (("--check", "x", "--task", "y"), "`task` cannot be used with --check"),
        (("--host", "h", "--out", "o", "--remove-task", "y"), "`remove_task` cannot be used"),
    ],
)
def test_one_way_to_export_at_a_time(arguments, message):
    options = vars(cli._parser().parse_args(["export", *arguments]))
    for internal in ("run_command", "show", "failed", "needs_tensorflow"):
        options.pop(internal)
    with pytest.raises(InputError, match=message):
        choose_way(options)


def test_no_summary_reaches_the_run(monkeypatch):
    from keras_peterrec.runs import transfer

    asked = {}
    monkeypatch.setattr(transfer, "transfer", lambda **options: asked.update(options) or {})
    monkeypatch.setattr(cli, "_show_metrics", lambda result: None)
    command = ["transfer", "--host", "h", "--log", "l", "--target", "t", "--out", "o"]
    for added, expected in (([], None), (["--no-summary"], False)):
        asked.clear()
        cli.main([*command, *added])
        assert asked.get("summary") is expected

"""The commands as a person types them."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import run_here

import keras_peterrec as kp
from keras_peterrec import cli
from keras_peterrec.settings.transfer import TransferSettings


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


def pretraining(log, out):
    """The words of a short one."""
    options = "--hidden-dim 8 --blocks 1 --max-length 10 --epochs 1"
    return ["pretrain", "--log", log, "--out", out, *options.split()]


@pytest.fixture(scope="module")
def pretrained(small_log, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "host"
    done = run(*pretraining(small_log, out), "--json")
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.mark.parametrize(
    ("network", "refused"),
    [
        ("attention:heds=2", "`network` should have after attention: some of heads=..., window="),
        (
            "attention:heads=3",
            "`hidden_dim` should be a multiple of `heads` = 3. Received: `hidden",
        ),
    ],
)
def test_options_of_a_network_are_refused_before_the_log_is_read_and_quietly(
    small_log, tmp_path, network, refused
):
    out = tmp_path / "host"
    done = run("pretrain", "--log", small_log, "--out", out, "--network", network)
    assert done.returncode == 2 and not out.exists()
    [told] = [line for line in done.stderr.splitlines() if "loading TensorFlow" not in line]
    assert told.startswith(f"keras-peterrec: error: {refused}")


def test_json_is_all_that_stands_on_stdout(pretrained):
    out, done = pretrained
    assert json.loads(done.stdout) == json.loads((out / "metrics.json").read_text())
    # Nothing of TensorFlow's own, and what a person wants to know.
    stages = (
        "pretrain  compiling",
        "pretrain",
        "fitting the linear part",
        "measuring validation and test events",
    )
    starts = [
        line.partition(" ...")[0].partition("  epoch")[0] for line in done.stderr.splitlines()
    ]
    # On a slow machine a stage says several times that it goes on.
    assert list(dict.fromkeys(start for start in starts if start in stages)) == list(stages)
    assert "I0000" not in done.stderr and "WARNING" not in done.stderr
    assert any(start.startswith("reading ") for start in starts)
    assert "320 events of 40 users" in done.stderr
    seconds = json.loads(done.stdout)["seconds"]
    assert 0.5 < seconds["first_step"] < seconds["total"]


def test_finished_run_prints_a_table(pretrained, small_log):
    out, _ = pretrained
    done = run_here(*pretraining(small_log, out))
    assert done.returncode == 0, done.stderr
    assert "ndcg@10" in done.stdout and "popularity" in done.stdout
    assert "already finished" in done.stderr and "epoch" not in done.stderr


@pytest.mark.slow
def test_whole_chain(pretrained, small_log, tmp_path):
    host, _ = pretrained
    labels = tmp_path / "users.csv"
    labels.write_text(
        "user_id,kind\n" + "".join(f"u{n},{'even' if n % 2 == 0 else 'odd'}\n" for n in range(40))
    )
    task, model = tmp_path / "kind", tmp_path / "export" / "1"
    said = ""
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
            "--method",
            "head",
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
        said += done.stderr
    assert "column 'kind': 2 different words (even 20, odd 20), so the kind of the task is" in said
    assert f"{model.parent / '2'}: nothing wrong" in done.stdout  # the newest
    asked = ("predict", "--model", model, "--history", "i1 i2 i3")
    done = run_here(*asked, "--task", "kind", "--json")
    answer = json.loads(done.stdout)["kind"]["i1 i2 i3"]
    assert sorted(answer["classes"]) == ["even", "odd"]
    assert sum(answer["scores"]) == pytest.approx(1, abs=1e-5)
    done = run_here(*asked)
    assert done.returncode == 0 and "serving_default" in done.stdout
    (model / "assets" / "vocabulary.txt").unlink()
    done = run_here("export", "--check", model, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"] == ["assets: assets/vocabulary.txt is missing"]


def test_help_names_every_command():
    done = run_here("--help")
    assert done.returncode == 0
    for command in cli.COMMANDS:
        assert command.settings.command.split()[0] in done.stdout


@pytest.mark.parametrize(
    ("start", "content", "message"),
    [
        (run, "user_id,timestamp\na,1\n", "item_id"),
        (run_here, "user_id,item_id,timestamp\n", "`"),
        (run_here, "user_id,item_id,timestamp\na,x,1\na,y,2\na,z,3\n", "two users"),
        (run_here, "user_id,item_id,timestamp\na,x y,1\nb,x%20y,2\n", "written as in 'x%20y'"),
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
        (("--host", host, "--patch", "bottleneck:0"), "`width` should be a positive integer"),
        (("--host", host), "`kind` should have at least two different labels. Received: same"),
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
        (("--check", "x", "--task", "y"), "`task` cannot be used with --check"),
    ],
)
def test_one_way_to_export_at_a_time(arguments, message):
    done = run_here("export", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "magic"), "`method` should be one of patch, all"),
        (("--epochs", "many"), "`epochs` should be an integer. Received: `epochs` = 'many'"),
        (("--devices", "some"), "`devices` should be a positive integer or 'all'"),
        (("--config", "nope.toml"), "`config` should be a JSON or TOML file that can be read"),
        ((), "Either `target` or `labels` should be given"),
    ],
)
def test_mistakes_are_one_line_whoever_finds_them(arguments, message):
    done = run_here("transfer", "--host", "h", "--log", "l", "--out", "o", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"keras-peterrec: error: {message}")
    assert done.stderr.count("\n") == 1


def test_options_reach_the_run(monkeypatch):
    asked = []
    run = SimpleNamespace(with_settings=lambda settings: asked.append(settings) or {})
    monkeypatch.setattr(cli, "_check_places", lambda settings: None)
    monkeypatch.setattr(cli, "imported", lambda name: run if "runs." in name else lambda _: None)
    command = ["transfer", "--host", "h", "--log", "l", "--target", "t", "--out", "o"]
    for added in ([], ["--no-cut-history"], ["--patch", "lora:4", "--seed", "3"]):
        cli.main([*command, *added])
    plain = TransferSettings("h", "l", "o", target="t")
    assert asked == [plain, plain.replace(cut_history=False), plain.replace(patch="lora:4", seed=3)]


def test_a_finished_run_can_be_asked_for_by_its_own_settings(pretrained):
    out, done = pretrained
    again = run_here("pretrain", "--config", out / "run.json", "--out", out, "--json")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout and "already finished" in again.stderr
    other = run_here("pretrain", "--config", out / "run.json", "--out", out, "--hidden-dim", 4)
    assert other.returncode == 2 and "`hidden_dim` = 8 rather than 4" in other.stderr


def test_mistakes_are_told_before_tensorflow_is_imported(tmp_path):
    """One command after another, in one process that has never imported it."""
    own = "--labels users.csv --column age"
    cases = [
        ("pretrain --log none.csv --out run", "`path` should be a file that exists"),
        ("pretrain --log users.csv --out run", "`path` should have one column `item_id`"),
        ("pretrain --log simulated/sauce --out run", "`source` should be a file or one of"),
        ("prepare --log simulated/sauce --out run", "`source` should be a file or one of"),
        ("pretrain --log simulated/source --out taken", "`out` should be a new folder"),
        ("pretrain --log simulated/source --out other", "a run of transfer, not pretrain"),
        (
            "transfer --host none --log simulated/source --target simulated/target --out run",
            "`host`",
        ),
        (
            f"transfer --host host --log simulated/source {own} --out run",
            "`path` should have one column `age`",
        ),
    ]
    (tmp_path / "users.csv").write_text("user_id,gender\nann,F\n")
    for folder, file, text in (
        ("taken", "mine.txt", "mine"),
        ("other", "run.json", '{"command": "transfer", "format_version": 2}'),
        ("host", "host.json", "{}"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text)
    code = (
        "import sys\n"
        "from keras_peterrec.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    try:\n"
        "        main(words.split())\n"
        "    except SystemExit as ended:\n"
        "        print(ended.code, 'tensorflow' in sys.modules, 'keras' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, *(words for words, _ in cases)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["2 False False"] * len(cases), done.stderr
    told = done.stderr.splitlines()
    assert len(told) == len(cases)
    for line, (_, message) in zip(told, cases):
        assert message in line
    assert not (tmp_path / "run").exists()


def test_the_version_and_completion_are_printed_without_tensorflow():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"keras-peterrec {kp.__version__}\n")
    pytest.importorskip("shtab")
    for shell in ("bash", "zsh"):
        done = run_here("completion", shell)
        assert done.returncode == 0 and "keras-peterrec" in done.stdout
        assert all(word in done.stdout for word in ("transfer", "--class-weight", "--thorough"))


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.settings.command)
def test_help_says_every_default(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")  # so that no word is broken
    done = run_here(*command.settings.command.split(), "--help")
    text = " ".join(done.stdout.split())
    for field in dataclasses.fields(command.settings):
        if field.default is not dataclasses.MISSING:
            # An option that has a default of its own; `--no-NAME` beside `--NAME` has none.
            told = field.metadata["no_help"] if field.default is True else None
            words = " ".join((told or field.metadata["help"]).split())
            start = text.index(words[:40])
            assert "default" in text[start : start + len(words) + 60], field.name

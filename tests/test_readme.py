"""What the README says to run, runs: in a newcomer's folder, with small settings."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import WorkerHere, run_here

from keras_peterrec.experiments import quickstart
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.serving.verify import verify_export

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# The pages that the README sends a reader to; they go on where it ends.
GUIDES = [
    (ROOT / "notebooks" / f"{name}.md").read_text()
    for name in ("data", "patching", "report", "every_day")
]
PAGES = "".join([README, *GUIDES])
USERS = 200  # of the newcomer's logs
# What makes a command of the README quick enough for a test.
SMALL = {
    "pretrain": ["--epochs", "1", "--hidden-dim", "8", "--blocks", "1"],
    "refresh": ["--epochs", "1"],
    "transfer": ["--epochs", "1"],
    "benchmark": ["--seconds", "0.1", "--rounds", "1", "--connections", "2"],
}
SMALL_CODE = {"width=(2, 4), blocks=(3, 4)": "width=(2,), blocks=(1,)"}
# The first task is trained as the README says; those after it are heads, unless told otherwise.
METHOD_IS_SAID = {"--method", "--patch", "--from"}


def blocks(language, text=PAGES):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text=PAGES):
    lines = "".join(blocks("bash", text)).replace("\\\n", " ").split("\n")
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.fixture
def newcomer(tmp_path):
    """A folder with source.csv, target.csv and users.csv, as the README supposes."""
    folder = tmp_path
    some = load_labels("simulated/users", "gender").user_ids[:USERS]
    for name in ("source", "target"):
        log = load_log(f"simulated/{name}")
        log = log.select(np.isin(log.user_ids, some)[log.users])
        rows = zip(log.user_ids[log.users], log.item_ids[log.items], log.timestamps)
        lines = ["user_id,item_id,timestamp", *(",".join(map(str, row)) for row in rows)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    columns = {}
    for name in ("gender", "spend", "topics"):
        labels = load_labels("simulated/users", name)
        columns[name] = dict(zip(labels.user_ids, labels.values))
    # The shop's own form: semicolons, other names, dates, kinds of event, several files.
    (folder / "clicks").mkdir()
    for day in range(2):
        lines = ["customer;article;date;action;worth"]
        for n in range(30):
            action = ("view", "buy", "return")[n % 3]
            lines.append(f"c{n % 5};Article {n % 7};2026-01-{10 + 10 * day} 12:{n:02};{action};{n}")
        (folder / "clicks" / f"{day}.csv").write_text("\n".join(lines) + "\n")
    lines = ["user_id,gender,spend,topics"]
    for user in some:
        lines.append(",".join([user, *(column.get(user, "") for column in columns.values())]))
    (folder / "users.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(README, id="README"),
        pytest.param(PAGES, id="README and guides", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("unasked", "kept_open")
def test_commands_and_code_run_in_the_order_of_the_readme(newcomer, monkeypatch, text):
    monkeypatch.chdir(newcomer)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of what the commands start
    monkeypatch.delitem(verify_export._CHECKS, "C loader")  # as tests/serving/test_verify.py has it
    monkeypatch.setattr("keras_peterrec.metrics.measured.SAMPLES", 100)
    # After one epoch a patch is no better than its head, and the pages go on with a patch.
    monkeypatch.setattr("keras_peterrec.runs.task_training.why_head_is_all", lambda *_: None)
    ran = []
    for words in commands(text):
        # Hours of work; tests/experiments runs small ones.
        if words[0] != "keras-peterrec" or words[1] in ("quickstart", "experiment"):
            continue
        if words[1] == "benchmark" and text == README:  # three processes of TensorFlow
            continue
        words = [*words[1:], *SMALL.get(words[1], [])]
        if words[0] == "transfer" and "transfer" in ran and not METHOD_IS_SAID & {*words}:
            if not Path(words[words.index("--out") + 1]).exists():  # else it goes on as it began
                words += ["--method", "head"]
        if words[0] == "pretrain" and "pretrain" in ran:
            words += ["--no-linear", "--no-baselines"]
        done = run_here(*words)
        assert done.returncode == 0, f"{words}\n{done.stdout[-20000:]}{done.stderr}"
        ran.append(words[0])
    assert {
        *("pretrain", "transfer", "evaluate", "inspect", "export", "predict", "report"),
        "prepare",
    } <= set(ran)
    assert all(shown in PAGES for shown in SMALL_CODE)
    if "benchmark" in ran:
        measured = json.loads((newcomer / "runs/benchmark/serve/metrics.json").read_text())
        assert all(row["requests"] > 0 and row["errors"] == 0 for row in measured["rows"])
    # One after another in one session, as a reader would have it.
    session = {}
    for block in blocks("python", text):
        for shown, small in SMALL_CODE.items():
            block = block.replace(shown, small)
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            exec(block, session)
        assert shown.getvalue().strip(), f"code shows its reader nothing\n{block}"


def test_other_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    for words in commands():
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        elif words[0] in ("python", "pip", "tensorboard", "docker", "curl", "keras-peterrec"):
            for word in words[1:]:
                if word.startswith("tests/"):
                    assert (ROOT / word).exists(), words
        else:
            raise AssertionError(f"nothing runs {words}")
    assert [words for words in commands() if words[0] == "make"][:2] == [
        ["make", "quickstart"],
        ["make", "test"],
    ]


@pytest.mark.parametrize(
    "page", ["README.md", "notebooks/data.md", "notebooks/patching.md", "notebooks/report.md"]
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.slow
def test_quickstart_on_simulated_data(tmp_path):
    """The very command, on the data that is always at hand."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "keras_peterrec",
            "quickstart",
            "--data",
            "simulated",
            "--epochs",
            "1",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
    )
    check_quickstart(done, tmp_path)


@pytest.mark.usefixtures("unasked")
def test_quickstart_over_a_small_host(tmp_path, monkeypatch):
    """The same command in this process: a host that compiles fast, two tasks, one comparison.

    All are heads: a patch would only be traced longer, and is trained by the README's commands.
    """
    pretrain, transfer = quickstart.pretrain, quickstart.transfer
    small = {"hidden_dim": 8, "blocks": 1}
    replaced = {
        "pretrain": lambda *args, **more: pretrain(*args, **more, **small),
        "transfer": lambda **more: transfer(**{**more, "method": "head"}),
        "OTHER_METHODS": ("head",),
        "WorkerProcess": WorkerHere,
        "SIMULATED_TASKS": {task: quickstart.SIMULATED_TASKS[task] for task in ("shop", "gender")},
        "subprocess": SimpleNamespace(run=lambda command, **_: run_here(*command[3:])),
    }
    for name, value in replaced.items():
        monkeypatch.setattr(quickstart, name, value)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # one transfer at a time
    monkeypatch.setattr("keras_peterrec.metrics.measured.SAMPLES", 100)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    check_quickstart(run_here("quickstart", "--data", "simulated", "--epochs", "1"), tmp_path)


def check_quickstart(done, folder):
    assert done.returncode == 0, done.stderr
    for shown in ("baseline", "head", "history", "Try next", "tensorboard"):
        assert shown in done.stdout
    assert (folder / "runs" / "quickstart" / "comparison.png").stat().st_size > 10_000

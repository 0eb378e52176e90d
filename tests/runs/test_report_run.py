"""The page about runs of every kind, what it is made of, and what TensorBoard shows of them."""

import argparse
import html.parser
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from commands import run_here
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.pr_curve import metadata as pr_curve
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.util.tensor_util import make_ndarray

from keras_peterrec.errors import InputError
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.metrics.measured import Measured, RowDetails
from keras_peterrec.report.gather import SETTINGS, command_line, gather
from keras_peterrec.report.kept_rows import Examples, read_test_rows
from keras_peterrec.report.page import page
from keras_peterrec.report.views import average_precision
from keras_peterrec.runs.export import _earlier_reports as earlier_reports
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.report import report
from keras_peterrec.settings.parser import add_arguments, make_settings
from keras_peterrec.settings.transfer import TransferSettings

HEADINGS = {
    "host": ("By popularity of the item", "Coverage and novelty"),
    "shop": ("By popularity of the item", "Coverage and novelty"),
    "gender": ("By label", "Calibration"),
    "topics": ("By label", "Calibration"),
    "spend": ("By true number", "Numbers"),
}
EVERY = ("What was trained on what", "Result", "Training", "By events in the history", "Examples")


@pytest.fixture(scope="module")
def runs(host_folder, task_folder, label_folders, tmp_path_factory):
    """A folder with a host and a task of every kind."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(host_folder, folder / "host")
    shutil.copytree(task_folder, folder / "shop")
    for column, made in label_folders.items():
        shutil.copytree(made, folder / column)
    return folder


class Reader(html.parser.HTMLParser):
    """What a browser would find: headings, ids, what is loaded, and tags that do not close."""

    EMPTY = ("meta", "br", "path", "use", "link")

    def __init__(self, text):
        super().__init__()
        self.headings, self.loaded, self.open, self.figures, self.ids = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        self.loaded += [of[name] for name in ("src", "data", "action") if name in of]
        self.loaded += [tag] if tag in ("script", "img", "iframe", "link", "image") else []
        self.loaded += [url for url in (of.get("href"), of.get("xlink:href")) if url]
        if tag == "svg":
            self.figures.append(of)
        if "id" in of:
            self.ids.append(of["id"])
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


@pytest.fixture(scope="module")
def whole(runs):
    """What the report of all runs says, and its page: pictures take long."""
    result = report(runs, runs / "all.html")
    return result, (runs / "all.html").read_text()


@pytest.mark.parametrize("name", HEADINGS)
def test_a_page_stands_for_itself_and_says_all(name, whole):
    result, text_of_all = whole
    number = [run["name"] for run in result["runs"]].index(name)
    section = text_of_all[text_of_all.index(f'<section class="run" id="run-{number}">') :]
    text = section[: section.index("</section>") + len("</section>")]
    found = Reader(text)
    assert not found.open and not Reader(text_of_all).open
    assert all(url.startswith("#") for url in Reader(text_of_all).loaded)
    assert {*EVERY, *HEADINGS[name], "Size and time", "To make it again"} <= set(found.headings)
    assert all(of["role"] == "img" and len(of["aria-label"]) > 20 for of in found.figures)
    assert len(found.figures) >= 4
    run = result["runs"][number]
    assert run == json.loads(json.dumps(run))
    metric = run["decides"]["name"]
    for value in (run["metrics"]["test"][metric], run["baselines"][0]["test"][metric]):
        assert f"{value:.4f}" in text
    for line in run["commands"]:
        assert line in text.replace("&#x27;", "'")


@pytest.mark.parametrize("name", HEADINGS)
def test_groups_are_of_all_test_rows_and_make_the_metric(name, runs):
    run, arrays = gather(runs / name), read_test_rows(runs / name)
    metric = run["decides"]["name"]
    for found in run["views"]["groups"]:
        groups = found["groups"]
        assert sum(group["rows"] for group in groups) == len(arrays["part"])
        power = 2 if run["decides"]["root_of"] else 1
        parts = sum(group["rows"] * group["value"] ** power for group in groups)
        whole = (parts / len(arrays["part"])) ** (1 / power)
        assert whole == pytest.approx(run["metrics"]["test"][metric], rel=1e-5)


def test_a_folder_of_runs_is_one_page_with_an_index(whole):
    result, text = whole
    assert [run["name"] for run in result["runs"]] == ["host", "gender", "shop", "spend", "topics"]
    found = Reader(text)
    links = re.findall(r'href="#(run-\d+)"', text)
    assert len(links) == 5 and set(links) <= set(found.ids)
    # Figures share a page: what one refers to must not be another's.
    for name in set(re.findall(r"url\(#([^)]+)\)", text)) | set(
        re.findall(r'xlink:href="#(\w+)', text)
    ):
        assert found.ids.count(name) == 1, name


def test_examples_have_titles_and_mark_what_is_right(runs):
    shop = gather(runs / "shop")
    examples = shop["examples"]
    assert len(examples) == 5
    for example in examples:
        assert example["events"] >= len(example["history"])
        assert all(name.startswith("Simulated t") for name in example["truth"])
        scores = [score for _, score in example["answer"]]
        assert len(scores) == 10 and scores == sorted(scores, reverse=True)
    found = sum(len({*e["truth"]} & {name for name, _ in e["answer"]}) for e in examples)
    assert page([shop]).count("(right)") == found
    [truth] = gather(runs / "gender")["examples"][0]["truth"]
    assert truth in ("F", "M")
    # Users come again to items: of a host's test events some have been seen before.
    vocabulary = Vocabulary(["a", "b", "c"])
    [a, b] = vocabulary.encode(["a", "b"])
    truths = lambda rows: [{"truth": ["a", "c"], "answer": []} for _ in rows]
    details = RowDetails([0], [12], dict, truths, of_items=True)
    measured = Measured({}, {}, [0], user_ids=["ann"], details=details)
    source = SimpleNamespace(items=np.array([a, *[b] * 11]))
    [example] = Examples(source, vocabulary).of(measured, 1)
    assert "a" not in example["history"] and example["truth_in_history"] == ["a"]
    run = {**shop, "examples": [example], "views": {}, "history": {}}
    assert "<td>a (in the history), c</td>" in page([run])


def test_an_overview_says_how_a_run_stands_to_its_baseline(runs):
    cases = {
        "one": ([0.1, 0.2], True, "beats it"),
        "two": ([0.1, 0.2], False, "loses"),
        "three": ([-0.1, 0.2], True, "equals it"),
        "four": ([-0.2, -0.1], True, "loses"),
        "five": (None, True, "beats it"),
    }
    shown, whole = [], {**gather(runs / "gender"), "history": {}}
    for name, (interval, higher, _) in cases.items():
        run = dict(whole)
        metric, [baseline, *_] = run["decides"]["name"], run["baselines"]
        run["decides"] = {**run["decides"], "higher_is_better": higher}
        run["baselines"] = [{**baseline, "name": name, "test": {metric: 0.5}}]
        run["intervals"] = {metric: [0.6, 0.7]}
        run["views"] = {"against": {name: interval} if interval else {}}
        shown.append(run)
    text = page(shown)
    for name, (*_, word) in cases.items():
        assert f"<td>{name} 0.5000</td><td>{word}</td>" in text
        assert f"against each: {name}: {word}." in text


def test_titles_of_ones_own_stand_for_items_alone(runs, tmp_path):
    shutil.copytree(runs / "gender", tmp_path / "gender")
    [first, *_] = examples = gather(tmp_path / "gender")["examples"]
    first.update(history=["s1", "F"], truth=["F"])
    (tmp_path / "gender" / "examples.json").write_text(json.dumps(examples))
    (tmp_path / "titles.csv").write_text("item_id,title\ns1,Song of songs\nF,Fargo\n")
    report(tmp_path / "gender", titles=tmp_path / "titles.csv", out=tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert "<td>Song of songs, Fargo</td><td>F</td>" in text
    done = run_here("report", tmp_path / "gender", "--titles", tmp_path / "p.html")
    assert done.returncode == 2 and "columns item_id and title" in done.stderr


def test_names_are_no_markdown_in_tensorboard(monkeypatch):
    examples = Examples(None, None)
    shown = {"user": "u|1", "events": 3, "history": ["*a*"], "truth": ["b_b"]}
    monkeypatch.setattr(examples, "of", lambda *_: [{**shown, "answer": [["b_b", 0.5]]}])
    text = examples.markdown(None)
    assert "### u\\|1" in text and "3 events, the last: \\*a\\*" in text
    assert "answer: **b\\_b** 0.5" in text


def test_names_are_text_and_not_html(runs):
    run = gather(runs / "gender")
    run["examples"][0]["history"] = ["<script>alert(1)</script>"]
    run["name"] = "<b>"
    text = page([run])
    assert (
        "<script" not in text and "&lt;script&gt;" in text and "<h1>keras_peterrec: &lt;b" in text
    )


def test_a_run_without_these_files_gets_a_page(runs, tmp_path):
    shutil.copytree(runs / "gender", tmp_path / "old")
    for name in ("test_rows.npz", "examples.json", "history.csv"):
        (tmp_path / "old" / name).unlink()
    [run] = report(tmp_path / "old")["runs"]
    assert run["views"] == {} and run["examples"] == []
    headings = Reader((tmp_path / "old" / "report.html").read_text()).headings
    assert "Result" in headings and "Calibration" not in headings


def test_it_needs_no_tensorflow(runs, tmp_path):
    code = (
        "import sys; from keras_peterrec.cli import main\n"
        f"main(['report', {str(runs / 'shop')!r}, '--out', {str(tmp_path / 'p.html')!r}])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'p.html'}: 1 run\n"


def test_the_command_of_a_run_makes_the_same_settings(runs):
    for name in ("host", "gender", "shop"):
        asked = json.loads((runs / name / "run.json").read_text())
        words = shlex.split(command_line(asked["command"], asked["settings"], "out"))[1:]
        settings = SETTINGS[asked["command"]]
        parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
        add_arguments(parser, settings)
        options = vars(parser.parse_args(words[1:]))
        assert make_settings(settings, options).recorded() == asked["settings"]
    assert gather(runs / "gender")["commands"][0].startswith("keras-peterrec pretrain --log")


def test_columns_and_kinds_of_event_are_written_as_the_command_line_takes_them():
    settings = {"log": "a b.csv", "columns": {"user_id": "u", "timestamp": "t"}}
    words = shlex.split(command_line("pretrain", {**settings, "events": ["buy", "cart"]}, "out"))
    given = dict(zip(words[2::2], words[3::2]))
    assert given == {
        **{"--log": "a b.csv", "--columns": "user_id=u,timestamp=t", "--events": "buy,cart"},
        "--out": "out",
    }


def test_mistakes_are_one_line(runs, tmp_path):
    done = run_here("report", tmp_path)
    assert done.returncode == 2 and "which holds none" in done.stderr
    done = run_here("report", runs / "gender", "--out", tmp_path / "no" / "page.html")
    assert done.returncode == 2 and "`out` should be a file that can be written" in done.stderr
    shutil.copytree(runs / "gender", tmp_path / "bad")
    (tmp_path / "bad" / "metrics.json").write_text('{"command": "transfer", "metrics": {}}')
    with pytest.raises(InputError, match="settings that fit together"):
        report(tmp_path / "bad")
    shutil.copyfile(runs / "gender" / "metrics.json", tmp_path / "bad" / "metrics.json")
    for name in ("test_rows.npz", "history.csv"):  # pictures take long
        (tmp_path / "bad" / name).unlink()
    whole = json.loads((tmp_path / "bad" / "metrics.json").read_text())
    wrongs = itertools.cycle(("word", [1, {}], {"a": []}, 7, None))
    for name, wrong in zip(whole, wrongs):
        check_refused_or_reported(tmp_path / "bad", {**whole, name: wrong})


def check_refused_or_reported(folder, metrics):
    (folder / "metrics.json").write_text(json.dumps(metrics))
    try:
        report(folder)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["word", [1, {}], {"a": []}, 7, None], ids=repr)
def test_anything_wrong_is_one_line(wrong, runs, tmp_path):
    """Each part of the metrics with each wrong value; the default test has one of each."""
    shutil.copytree(runs / "gender", tmp_path / "bad")
    whole = json.loads((tmp_path / "bad" / "metrics.json").read_text())
    for name in whole:
        check_refused_or_reported(tmp_path / "bad", {**whole, name: wrong})


# What TensorBoard shows.


def read_events(folder):
    return EventAccumulator(str(folder / "logs"), size_guidance={"tensors": 0}).Reload()


def test_hparams_have_every_run_of_a_folder(runs):
    values, metrics = {}, {}
    for name in HEADINGS:
        events = read_events(runs / name)
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        info = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        values[name] = info.hparams
        metrics[name] = {tag for tag in events.Tags()["tensors"] if tag.startswith("test/")}
    assert values["gender"]["method"].string_value == "head"
    assert values["shop"]["patch"].string_value.startswith("bottleneck")
    assert values["shop"]["data"].string_value == "simulated/target"
    assert values["gender"]["data"].string_value == "simulated/users, gender"
    assert values["host"]["kind"].string_value == "host"
    assert "test/log_loss" in metrics["gender"] and "test/ndcg@10" in metrics["shop"]


@pytest.mark.parametrize(("name", "column"), [("gender", 1), ("topics", 0)])
def test_pr_curves_are_of_the_test_users(name, column, runs):
    events, arrays = read_events(runs / name), read_test_rows(runs / name)
    label = str(arrays["labels"][column])
    tag = f"test/{label}/pr_curves"
    assert events.summary_metadata[tag].plugin_data.plugin_name == pr_curve.PLUGIN_NAME
    right, wrong, _, missed, precision, recall = make_ndarray(events.Tensors(tag)[0].tensor_proto)
    has = arrays["has"][:, column] if "has" in arrays else arrays["class"] == column
    scores = arrays["probabilities"][:, column]
    threshold = 0.5
    said = scores >= threshold
    assert right[50] == (said & has).sum() and wrong[50] == (said & ~has).sum()
    assert right[0] == has.sum() and missed[50] == (~said & has).sum()
    area = np.sum(-np.diff(recall, append=0.0) * precision)
    assert area == pytest.approx(average_precision(scores, has), abs=0.03)
    pictures = {"test/calibration", "test/precision and recall"}
    pictures |= {"test/confusion"} if "class" in arrays else set()
    for picture in pictures:
        _, _, png = make_ndarray(events.Tensors(picture)[0].tensor_proto)[:3]
        assert png.startswith(b"\x89PNG") and len(png) > 2_000


@pytest.mark.parametrize(("name", "items"), [("host", 150), ("shop", 59)])
def test_the_projector_has_vectors_titles_and_popularity(name, items, runs):
    logs = runs / name / "logs"
    config = text_format.Parse((logs / "projector_config.pbtxt").read_text(), ProjectorConfig())
    [found] = config.embeddings
    vectors = np.fromfile(logs / found.tensor_path, "float32").reshape(found.tensor_shape)
    assert vectors.shape == (items, 16) and np.isfinite(vectors).all()
    lines = (logs / found.metadata_path).read_text().splitlines()
    assert lines[0].split("\t") == ["title", "item", "popularity"] and len(lines) == items + 1
    title, item, popularity = lines[1].split("\t")
    assert title.startswith(f"Simulated {item}") and int(popularity) > 0
    counts = [int(line.split("\t")[2]) for line in lines[1:]]
    assert counts == sorted(counts, reverse=True)


def test_profile_is_an_option_of_the_commands_that_train(runs):
    assert TransferSettings(host="h", log="l", out="o", target="t").profile is False
    assert "profile" not in TransferSettings(host="h", log="l", out="o", target="t").recorded()


# The model card.


@pytest.mark.usefixtures("unasked")
def test_the_card_of_an_export_has_what_the_runs_say(runs, tmp_path):
    out = tmp_path / "peterrec" / "1"
    shutil.copytree(runs / "gender", tmp_path / "gender")
    export_runs(runs / "host", [tmp_path / "gender"], out)
    card = (out / "assets.extra" / "README.md").read_text()
    said = json.loads((runs / "gender" / "metrics.json").read_text())["metrics"]["test"]
    for shown in ("model-index:", '"next item"', '"gender"', f"{said['log_loss']:.4f}", "majority"):
        assert shown in card
    examples = json.loads((runs / "gender" / "examples.json").read_text())
    texts = card + (out / "assets.extra" / "reports.json").read_text()
    assert not any(example["user"] in texts for example in examples)
    # The next version is made of this one: the run may be gone.
    (tmp_path / "gender" / "metrics.json").unlink()
    assert set(earlier_reports(out, [])) == {"serving_default", "gender"}
    assert set(earlier_reports(out, ["gender"])) == {"serving_default"}

"""Presets: a host handed to others as a folder, or over the Hub's own client."""

import hashlib
import http.server
import json
import sys
import threading

import keras
import numpy as np
import pyarrow as pa
import pytest
import yaml

import keras_peterrec
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import write_json
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.export_files import DESCRIPTION
from keras_peterrec.transfer.host import Host

COMMIT = "c" * 40
RESULT = {
    "command": "pretrain",
    "settings": {"log": "clicks.csv"},
    "seed": 0,
    "data": {"users": 1200},
    "decides": {"name": "ndcg@10", "higher_is_better": True},
    "metrics": {"test": {"ndcg@10": 0.25}},
    "intervals": {"test": {"ndcg@10": [0.2, 0.3]}},
    "baselines": [{"name": "popularity", "test": {"ndcg@10": 0.1}}],
}


@pytest.fixture
def preset(host, tmp_path):
    host.to_preset(tmp_path / "shop")
    return tmp_path / "shop"


def test_a_preset_is_the_host(host, preset, histories):
    loaded = Host.from_preset(preset)
    assert loaded.fingerprint() == host.fingerprint()
    before, after = (np.asarray(h.next_item_scores(histories)) for h in (host, loaded))
    assert before.tobytes() == after.tobytes()
    loaded.save(preset.parent / "host")  # and a host is a preset
    assert Host.from_preset(preset.parent / "host").fingerprint() == host.fingerprint()


def test_keras_alone_makes_the_network_of_it(host, preset, histories):
    config = json.loads((preset / "config.json").read_text())
    assert config["class_name"] == "ConvolutionNetwork"
    network = keras.saving.deserialize_keras_object(config)
    network.load_weights(preset / "model.weights.h5")
    before, after = (np.asarray(n(histories)) for n in (host.backbone, network))
    assert before.tobytes() == after.tobytes()
    metadata = json.loads((preset / "metadata.json").read_text())
    assert metadata.pop("date_saved")[4:5] == "-"
    assert metadata == {
        "keras_version": keras.__version__,
        "keras_peterrec_version": keras_peterrec.__version__,
        "parameter_count": host.backbone.count_params(),
    }


@pytest.mark.parametrize("of_a_run", [False, True])
def test_the_card_says_what_it_is_and_how_good(host, tmp_path, of_a_run):
    host.save(tmp_path / "run")
    if of_a_run:
        write_json(tmp_path / "run" / "metrics.json", RESULT)
    Host.load(tmp_path / "run").to_preset(tmp_path / "shop_of_books")
    _, front, text = (tmp_path / "shop_of_books" / "README.md").read_text().split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert "keras-peterrec" in metadata["tags"] and "# shop_of_books\n" in text
    assert f"it knows {len(host.vocabulary.items)} items" in text and "from_preset(" in text
    assert ("| **ndcg@10** | 0.2500 | 0.2000 to 0.3000 | 0.1000 |" in text) == of_a_run
    if of_a_run:
        [result] = metadata["model-index"][0]["results"]
        [metric] = result["metrics"]
        assert (metric["type"], metric["value"]) == ("ndcg@10", 0.25)


def test_nothing_that_is_there_is_written_over(host, preset, tmp_path):
    with pytest.raises(InputError, match="`preset` should be a new folder. Received: .*shop"):
        host.to_preset(preset)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="`preset` should be a new folder"):
        host.to_preset(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(InputError, match="`preset` .*nowhere"):
        Host.from_preset(tmp_path / "nowhere")


class Hub(http.server.BaseHTTPRequestHandler):
    """What the Hub answers its client of one model, `ann/shop`, at the revisions main and v1."""

    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0]
        files = {file.name: file.read_bytes() for file in self.server.folder.iterdir()}
        if path in (f"/api/models/ann/shop/revision/{name}" for name in ("main", "v1")):
            names = [{"rfilename": name} for name in files]
            self.answer(json.dumps({"id": "ann/shop", "sha": COMMIT, "siblings": names}).encode())
        elif path == f"/api/models/ann/shop/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": oid(content)}
                for name, content in files.items()
            ]
            self.answer(json.dumps(entries).encode())
        elif path.startswith(f"/ann/shop/resolve/{COMMIT}/"):
            self.answer(files[path.rpartition("/")[2]])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{oid(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub(preset, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.folder = [], preset
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # The client reads these when it is imported.
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    yield server
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["hf://ann/shop", "hf://ann/shop@v1"])
def test_the_hubs_client_fetches_what_a_host_is(host, hub, name):
    assert Host.from_preset(name).fingerprint() == host.fingerprint()
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert fetched == {"host.json", "vocabulary.txt", "weights.npz"}
    hub.asked.clear()
    assert Host.from_preset(name).fingerprint() == host.fingerprint()
    assert not [path for path in hub.asked if "/resolve/" in path]  # of the client's own cache


@pytest.mark.parametrize("name", ["hf://bob/shop", "hf://ann/shop@v2"])
def test_what_the_hub_does_not_have_is_refused_in_one_line(hub, name):
    with pytest.raises(InputError, match=f"host on the Hub that you may read. .*{name}") as info:
        Host.from_preset(name)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["hf://", "hf://ann", "hf://ann/shop/files", "hf://ann/shop@"])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(InputError, match="should be a path, hf://user/name or hf://user/name@rev"):
        Host.from_preset(name)


def test_without_the_hubs_client_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'keras-peterrec\[hub\]'"):
        Host.from_preset("hf://ann/shop")


def test_commands_take_a_name_on_the_hub(host, hub, tmp_path):
    """A task, its measures and an export; none of them has the folder."""
    name, users = "hf://ann/shop", [f"u{n}" for n in range(60)]
    items = [f"item{n % 9}" for n in range(240)]
    log = pa.table({"user_id": np.repeat(users, 4), "item_id": items, "timestamp": range(240)})
    labels = pa.table({"user_id": users, "plan": ["gold", "free", "free"] * 20})
    asked = {"labels": labels, "column": "plan", "epochs": 1, "baselines": False}
    transfer(name, log, tmp_path / "plan", method="head", **asked)
    found = evaluate(tmp_path / "plan", log=log, labels=labels)
    assert found["metrics"]["test"]["log_loss"] > 0
    export(host=name, task=[tmp_path / "plan"], out=tmp_path / "model" / "1")
    described = json.loads((tmp_path / "model" / "1" / DESCRIPTION).read_text())
    assert described["host_path"] == name
    with pytest.raises(InputError, match="`host` should be a host on the Hub .*ann/other"):
        transfer("hf://ann/other", log, tmp_path / "other", **asked)

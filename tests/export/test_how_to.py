"""The commands of export/README.md work."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from serving_folder import EXPORT

from keras_peterrec import cli
from keras_peterrec.settings.parser import make_settings

ROOT = EXPORT.parent
README = (EXPORT / "README.md").read_text()
COMMANDS = [
    shlex.split(line)
    for line in "".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
    .replace("\\\n", " ")
    .splitlines()
]
# What compose starts on a CPU, and on a GPU.
FLAGS = [
    re.findall(r"^ +- (--\S+)$", part, re.MULTILINE)
    for part in (EXPORT / "compose.yaml").read_text().split("services:")
]


def commands(*beginning):
    found = [words for words in COMMANDS if tuple(words[: len(beginning)]) == beginning]
    assert found
    return found


def test_every_command_is_tested_here():
    known = {("keras-peterrec", "export"), ("keras-peterrec", "predict")}
    known |= {("docker", "run"), ("docker", "compose")}
    known |= {("python", "export/client_rest.py"), ("python", "export/client_grpc.py")}
    for words in COMMANDS:
        assert words[0] == "curl" or tuple(words[:2]) in known, words


def test_export_commands_are_understood():
    ways = set()
    for words in commands("keras-peterrec", "export"):
        options = vars(cli._parser().parse_args(words[1:]))
        settings = options.pop("chosen").settings
        ways.add(make_settings(settings, options).way)
    assert ways == {"out", "check_folder", "base"}


def test_predict_commands_are_understood():
    for words in commands("keras-peterrec", "predict"):
        options = vars(cli._parser().parse_args(words[1:]))
        assert make_settings(options.pop("chosen").settings, options).out == "answers.parquet"


def test_docker_mounts_and_flags():
    for words in commands("docker", "run"):
        mounts = [words[n + 1] for n, word in enumerate(words) if word == "-v"]
        assert "$PWD/export/peterrec:/models/peterrec:ro" in mounts
        flags = [word for word in words if re.match(r"--[a-z_]*_", word) or "batching" in word]
        assert flags in ([], FLAGS[any("-gpu" in word for word in words)])
        if flags:
            assert "$PWD/export:/config:ro" in mounts
    for words in commands("docker", "compose"):
        assert (ROOT / words[words.index("-f") + 1]).is_file()


@pytest.mark.skipif(not shutil.which("curl"), reason="this machine has no curl")
def test_curl_lines_are_answered(server):
    for words in commands("curl"):
        words = [word.replace("localhost:8501", server.rest) for word in words[1:]]
        done = subprocess.run(["curl", "-sS", "--fail", *words], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, (words, done.stderr)


def test_client_lines_are_answered(server):
    for words in commands("python", "export/client_rest.py"):
        command = [sys.executable, *words[1:], "--server", f"http://{server.rest}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and json.loads(done.stdout), done.stderr


def test_grpc_lines_are_answered(server, capsys):
    pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    import client_grpc

    for words in commands("python", "export/client_grpc.py"):
        client_grpc.main([*words[2:], "--server", server.grpc])
        assert json.loads(capsys.readouterr().out)

"""The Dockerfile and the manifests agree with models.config; no image is built here."""

import re

import yaml
from serving_folder import EXPORT

from keras_peterrec import cli
from keras_peterrec.settings.parser import make_settings

BASE_PATH = re.search(r'base_path: "(.*)"', (EXPORT / "models.config").read_text())[1]


def test_serving_on_kubernetes():
    text = (EXPORT / "kubernetes" / "serving.yaml").read_text()
    deployment, service = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    flags = dict(flag[2:].partition("=")[::2] for flag in container["args"])
    assert ports == {"grpc": int(flags["port"]), "rest": int(flags["rest_api_port"])}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert BASE_PATH in mounts and set(mounts.values()) == {v["name"] for v in pod["volumes"]}
    for flag in ("model_config_file", "monitoring_config_file"):
        folder, _, name = flags[flag].rpartition("/")
        assert folder in mounts and (EXPORT / name).is_file()


def test_refresh_on_kubernetes():
    job = yaml.safe_load((EXPORT / "kubernetes" / "refresh.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsUser"] > 0 and pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    lines = [line.split()[1:] for line in container["args"][0].splitlines() if "keras-p" in line]
    refresh, export = ([word.replace("$", "") for word in words] for words in lines)
    for words in (refresh, export):
        assert all(word.startswith(tuple(mounts)) for word in words if word.startswith("/"))
        options = vars(cli._parser().parse_args(words))
        assert options.pop("chosen").settings.command == words[0]
    assert refresh[refresh.index("--out") + 1] == export[export.index("--host") + 1]
    assert export[export.index("--out") + 1] == f"{BASE_PATH}/next"


def test_dockerfile():
    stages = (EXPORT / "Dockerfile").read_text().split("\nFROM ")[1:]
    for stage in stages[1:]:
        user = re.search(r"^USER (\d+)", stage, re.MULTILINE)
        assert int(user[1]) > 0 and stage.index("RUN pip") < user.start()
    serve = stages[-1]
    words = yaml.safe_load(re.search(r"^CMD (\[.*\])", serve, re.MULTILINE)[1])
    options = vars(cli._parser().parse_args(["serve", *words]))
    settings = make_settings(options.pop("chosen").settings, options)
    assert settings.model_base_path == BASE_PATH and settings.host == "0.0.0.0"
    assert f"EXPOSE {settings.grpc_port} {settings.port}" in serve
    assert f"127.0.0.1:{settings.port}/v1/models/{settings.model_name}" in serve

"""TensorFlow Serving can read the configs, and they agree with each other and with the export."""

import re

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from serving_folder import EXPORT

from keras_peterrec.serving.warmup import MOST_ROWS

FIELD = descriptor_pb2.FieldDescriptorProto
COMPOSE = (EXPORT / "compose.yaml").read_text()
INT64 = ".google.protobuf.Int64Value"
# Copied by hand from the server's session_bundle_config.proto and monitoring_config.proto, which
# tensorflow-serving-api does not contain (2.11, 2.20 and 2.21 were checked). So these two configs
# are read as the server read them at that time.
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, INT64),
        "batch_timeout_micros": (2, INT64),
        "max_enqueued_batches": (3, INT64),
        "num_batch_threads": (4, INT64),
        "thread_pool_name": (5, ".google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, FIELD.TYPE_INT64),
        "pad_variable_length_inputs": (7, FIELD.TYPE_BOOL),
    },
    "PrometheusConfig": {"enable": (1, FIELD.TYPE_BOOL), "path": (2, FIELD.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, ".tensorflow.serving.PrometheusConfig")},
}


def message(name):
    """An empty message of one of the server's configs."""
    wrappers = wrappers_pb2.DESCRIPTOR.name
    file = descriptor_pb2.FileDescriptorProto(
        name="configs.proto", package="tensorflow.serving", syntax="proto3", dependency=[wrappers]
    )
    for title, fields in MESSAGES.items():
        described = file.message_type.add(name=title)
        for field, (number, kind) in fields.items():
            added = described.field.add(name=field, number=number, label=FIELD.LABEL_OPTIONAL)
            if isinstance(kind, str):
                added.type, added.type_name = FIELD.TYPE_MESSAGE, kind
            else:
                added.type = kind
            if field == "allowed_batch_sizes":
                added.label = FIELD.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    return message_factory.GetMessageClass(found)()


def read(name, empty):
    return text_format.Parse((EXPORT / name).read_text(), empty)


def models(text=None):
    model_server_config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    empty = model_server_config.ModelServerConfig()
    text = (EXPORT / "models.config").read_text() if text is None else text
    (config,) = text_format.Parse(text, empty).model_config_list.config
    return config


def test_models():
    config = models()
    assert (config.name, config.model_platform) == ("peterrec", "tensorflow")
    assert config.base_path.startswith("/")
    loaded = config.model_version_policy.specific.versions
    assert set(config.version_labels.values()) <= set(loaded)
    assert "stable" in config.version_labels


def test_the_how_tos_two_versions():
    (steps,) = re.findall(r"((?:^ {7}\S.*\n)+)", (EXPORT / "README.md").read_text(), re.MULTILINE)
    config = models(f"model_config_list {{ config {{ {steps} }} }}")
    assert list(config.model_version_policy.specific.versions) == [1, 2]
    assert dict(config.version_labels) == {"stable": 1, "canary": 2}


def test_batching_follows_the_servers_rules():
    config = read("batching.config", message("BatchingParameters"))
    sizes = list(config.allowed_batch_sizes)
    assert sizes[-1] == MOST_ROWS
    assert sizes == sorted(set(sizes)) and sizes[-1] == config.max_batch_size.value
    # Rows do not vary in length; padding would change answers without an error.
    assert not config.pad_variable_length_inputs
    assert config.num_batch_threads.value >= 1 and config.max_enqueued_batches.value >= 1
    assert 0 < config.batch_timeout_micros.value < 50_000


def test_monitoring():
    config = read("monitoring.config", message("MonitoringConfig"))
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_a_misspelt_field_would_be_found():
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sise { value: 1 }", message("BatchingParameters"))


def test_compose_mounts_what_its_flags_name():
    for path in re.findall(r"=/config/(\S+)", COMPOSE):
        assert (EXPORT / path).is_file()
    assert f"./peterrec:{models().base_path}:ro" in COMPOSE
    for profile in ("cpu", "gpu"):
        service = rf"^  {profile}:\n    <<: \*serving\n    profiles: \[{profile}\]"
        assert re.search(service, COMPOSE, re.MULTILINE)
    # Without it, a server that starts with labels ends at once.
    assert "--allow_version_labels_for_unavailable_models" in COMPOSE


def test_compose_is_yaml():
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load(COMPOSE)["services"]
    assert set(services) == {"cpu", "gpu"}
    for name, service in services.items():
        assert "8501:8501" in service["ports"]
        # On few cores, batching loses more requests a second than it gains.
        assert ("--enable_batching" in service["command"]) == (name == "gpu")
    batching = {"--enable_batching", "--batching_parameters_file=/config/batching.config"}
    assert set(services["gpu"]["command"]) - set(services["cpu"]["command"]) == batching

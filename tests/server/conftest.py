"""Servers that the tests share."""

import pytest
import small_models
import tensorflow as tf
from running_server import running

from keras_peterrec.server import loaded_version

CONFIG = """
model_config_list {{
  config {{
    name: "half" base_path: "{folder}/half" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 2 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
  config {{ name: "everything" base_path: "{folder}/everything" }}
}}
"""


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """`half` with versions 1 and 2, and `everything`."""
    folder = tmp_path_factory.mktemp("models")
    one = small_models.save_half(folder / "half", 1)
    small_models.copy_version(one, folder / "half", 2)
    small_models.save_everything(folder / "everything", 7)
    return folder


@pytest.fixture(scope="session")
def half_server(model_folder, tmp_path_factory):
    """A server of `half` and `everything` over REST and gRPC, as the transcripts' one."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text(CONFIG.format(folder=model_folder))
    with running(model_config_file=str(file), grpc_port=0) as state:
        state.folder = model_folder
        yield state


@pytest.fixture(scope="session")
def export_server(causal_export, tmp_path_factory):
    """A server of an export, with titles."""
    titles = tmp_path_factory.mktemp("titles") / "titles.csv"
    titles.write_text('item_id,title,year\ns0,Éé,1990\ns1,"One, two",1991\n', encoding="utf-8")
    quick = tf.compat.v1.ConfigProto.FromString(loaded_version._SESSION.SerializeToString())
    quick.graph_options.rewrite_options.disable_meta_optimizer = True  # a third of the start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded_version, "_SESSION", quick)
        with running(
            model_base_path=str(causal_export.out.parent),
            grpc_port=0,
            titles=str(titles),
            cors=True,
        ) as state:
            yield state

"""The official demo files, through the paper's own format, end to end."""

from pathlib import Path

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host

DEMO = Path(__file__).parents[2] / "shared" / "data" / "peterrec_demo"
PRETRAIN = DEMO / "history_sequences_20181014_fajie_transfer_pretrain_small.csv"
FINETUNE = DEMO / "history_sequences_20181014_fajie_transfer_finetune_small.csv"


@pytest.mark.skipif(not DEMO.is_dir(), reason="the demo files are not at hand")
def test_demo_files_pretrain_and_transfer(tmp_path):
    pretrain(
        f"paper:{PRETRAIN}", tmp_path / "host", hidden_dim=8, blocks=1, max_length=10, epochs=1
    )
    host = Host.load(tmp_path / "host")
    source = load_log(f"paper-source:{FINETUNE}")
    # The files share their items; the host knows all that were in its training events.
    assert np.mean(host.vocabulary.encode(source.item_ids) >= 4) > 0.75
    result = _first_usable_split(tmp_path, f"paper-source:{FINETUNE}", f"paper-target:{FINETUNE}")
    assert result["data"]["target_items"] == len(load_log(f"paper-target:{FINETUNE}").item_ids)
    assert 0 <= result["metrics"]["test"]["hr@5"] <= 1


def _first_usable_split(tmp_path, log, target):
    """So few users may leave a split empty, which is refused; some seed has none."""
    for seed in range(20):
        try:
            return transfer(
                tmp_path / "host",
                log,
                tmp_path / "task",
                target=target,
                epochs=1,
                method="head",
                seed=seed,
            )
        except InputError as error:
            assert "enough users" in str(error)
    raise AssertionError("no seed splits the demo's users")


def test_labels_of_the_paper_format(tmp_path):
    file = tmp_path / "gender.csv"
    file.write_text("0,5,6,,1\n7,5,6,,2\n0,0,6,,1\n")
    labels = load_labels(f"paper-labels:{file}", "label")
    assert labels.values.tolist() == ["1", "2", "1"]
    assert len(load_log(f"paper-source:{file}").user_ids) == 3

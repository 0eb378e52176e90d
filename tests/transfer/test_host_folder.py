"""A host on disk loads as the same host, or is refused in one clear line."""

import json

import numpy as np
import pytest
from slow_cases import slow
from task_samples import damage, edit

from keras_peterrec.errors import InputError
from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.transfer.host import Host

DILATIONS = (1, 4)  # of two blocks


def refused(folder):
    with pytest.raises(InputError) as info:
        Host.load(folder)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize(
    ("causal", "arguments"),
    [
        (True, {}),
        (True, {"negatives": 7, "sampler": "in_batch"}),
        (False, {"tied": False}),
        (False, {"negatives": 7}),
        *slow(
            (True, {"tied": False}),
            (True, {"negatives": 7}),
            (False, {}),
            (False, {"negatives": 7, "sampler": "in_batch"}),
        ),
    ],
)
def test_round_trip_is_bitwise(new_host, causal, arguments, histories, bits, tmp_path):
    host = new_host(causal, **arguments)
    host.save(tmp_path / "runs" / "host")
    loaded = Host.load(tmp_path / "runs" / "host")
    assert bits(loaded.backbone) == bits(host.backbone)
    assert loaded.fingerprint() == host.fingerprint()
    assert loaded.vocabulary.items.tolist() == host.vocabulary.items.tolist()
    assert (loaded.max_length, loaded.objective) == (6, "causal" if causal else "masked")
    assert (loaded.pretrainer.tied, loaded.pretrainer.negatives) == (
        arguments.get("tied", True),
        arguments.get("negatives"),
    )
    assert loaded.pretrainer.sampler == arguments.get("sampler", "log_uniform")
    before, after = (np.asarray(h.pretrainer.next_item_scores(histories)) for h in (host, loaded))
    assert before.tobytes() == after.tobytes()


def test_holds_three_files_and_no_pickle(host, tmp_path):
    host.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "host.json",
        "vocabulary.txt",
        "weights.npz",
    ]
    assert all("/" in path for path in read_weights(tmp_path / "weights.npz"))
    assert all(
        array.dtype == "float32" for array in read_weights(tmp_path / "weights.npz").values()
    )


def test_fingerprint_sees_weights_settings_and_vocabulary(new_host):
    prints = {new_host().fingerprint(), new_host(seed=1).fingerprint()}
    prints.add(new_host(causal=False).fingerprint())
    moved = new_host()
    bias = moved.backbone.blocks[1].norms[1].beta
    bias.assign(np.nextafter(bias.numpy(), np.float32(9)))
    prints.add(moved.fingerprint())
    swapped = new_host()
    swapped.vocabulary.items[[0, 1]] = swapped.vocabulary.items[[1, 0]]
    prints.add(swapped.fingerprint())
    assert len(prints) == 5
    assert new_host().fingerprint() in prints


def test_a_folder_without_a_host_is_refused(tmp_path):
    assert refused(tmp_path) == (
        f"`host` should be a folder with host.json. Received: {str(tmp_path)!r}, which has none."
    )
    refused(tmp_path / "none")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file")


@pytest.mark.parametrize("name", ["host.json", "vocabulary.txt", "weights.npz"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "binary"])
def test_a_damaged_file_is_refused(host, name, how, tmp_path):
    host.save(tmp_path)
    damage(tmp_path / name, how)
    refused(tmp_path)


@pytest.mark.parametrize("version", [0, 1, 2, 5, "6", None])
def test_another_format_version_is_refused(host, version, tmp_path):
    host.save(tmp_path)
    edit(tmp_path / "host.json", format_version=version)
    assert refused(tmp_path) == (
        f"`host` should be of format version 6. Received: "
        f"{str(tmp_path / 'host.json')!r}, version {version!r}."
    )


def test_changed_weights_are_noticed(host, tmp_path):
    host.save(tmp_path)
    arrays = read_weights(tmp_path / "weights.npz")
    arrays["network/block_1/norm_1/beta"][0] += 1
    write_weights(tmp_path / "weights.npz", arrays)
    assert "its files were changed" in refused(tmp_path)


def test_changed_vocabulary_is_noticed(host, tmp_path):
    host.save(tmp_path)
    lines = (tmp_path / "vocabulary.txt").read_text().splitlines()
    lines[4], lines[5] = lines[5], lines[4]
    (tmp_path / "vocabulary.txt").write_text("\n".join(lines) + "\n")
    assert "its files were changed" in refused(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"objective": "next"},
        {"objective": "masked"},
        {"objective": ...},
        {"network": ...},
        {"network": {"name": "convolution", "settings": {"vocabulary_size": 16}}},
        {"network": {"name": "perceptron", "settings": {"vocabulary_size": 16}}},
        {"network": []},
        {"max_length": ...},
        {"fingerprint": ...},
        {"tied": False},
        {"sampler": ...},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(host, change, tmp_path):
    host.save(tmp_path)
    edit(tmp_path / "host.json", **change)
    refused(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary_size": 3_000_000}, "vocabulary.txt` should have 3,000,000 lines"),
        ({"hidden_dim": 1_000}, "more than twice the weights that are saved"),
    ],
    ids=str,
)
def test_settings_do_not_ask_for_more_memory_than_is_saved(host, change, message, tmp_path):
    host.save(tmp_path)
    network = json.loads((tmp_path / "host.json").read_text())["network"]
    network["settings"] |= change
    edit(tmp_path / "host.json", network=network)
    assert message in refused(tmp_path)


@pytest.mark.parametrize("content", ["[]", "1", "null", "{", '"host"'])
def test_json_that_is_not_a_host_is_refused(host, content, tmp_path):
    host.save(tmp_path)
    (tmp_path / "host.json").write_text(content)
    refused(tmp_path)

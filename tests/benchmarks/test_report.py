"""What a benchmark says of the machine."""

from keras_peterrec.benchmarks.report import describe_machine


def test_gpus_are_named(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 40960 MiB'\necho 'Tesla T4, 15360 MiB'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert describe_machine()["gpus"] == "NVIDIA A100-SXM4-40GB, 40960 MiB; Tesla T4, 15360 MiB"
    tool.write_text("#!/bin/sh\nexit 9\n")  # no driver
    assert describe_machine()["gpus"] == "none"
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_machine()["gpus"] == "none"

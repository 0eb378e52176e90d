"""The command line made from settings, and settings read from a file."""

import argparse
import json

import pytest
from bake_settings import BakeSettings

from keras_peterrec.errors import InputError
from keras_peterrec.settings.experiment import ExperimentSettings
from keras_peterrec.settings.parser import add_arguments, make_settings, read_config
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.transfer import TransferSettings


def parse(settings_class, *words):
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    add_arguments(parser, settings_class)
    return make_settings(settings_class, vars(parser.parse_args([str(word) for word in words])))


def bake(*words):
    return parse(BakeSettings, *words)


def test_options_are_called_as_settings():
    assert bake("--flour", "rye") == BakeSettings("rye")
    words = ["--flour", "rye", "--eggs", 4, "--sugar", 1, "--icing", "lemon", "--no-sifted"]
    assert bake(*words) == BakeSettings("rye", 4, 1.0, "lemon", sifted=False)
    layers = ["--layers", "jam", "cream", "--layers", "nuts"]  # several at a time, or repeated
    assert bake("--flour", "rye", *layers).layers == ("jam", "cream", "nuts")


@pytest.mark.parametrize(
    ("settings_class", "words"),
    [
        (PretrainSettings, ["--log", "a.csv", "--out", "b"]),
        (TransferSettings, ["--host", "h", "--log", "a.csv", "--target", "b.csv", "--out", "c"]),
    ],
)
def test_what_the_data_decides_has_an_option_each_way(settings_class, words):
    asked = {True: ["--keep-seen"], False: ["--no-keep-seen"], None: []}
    for value, options in asked.items():
        assert parse(settings_class, *words, *options).keep_seen is value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "`flour` should be given, as --flour or in a --config file: what it is made of."),
        (["--flour", "rye", "--eggs", "two"], "`eggs` should be an integer. Received: `eggs` = "),
        (["--flour", "rye", "--sugar", "much"], "`sugar` should be a number. Received: `sugar`"),
        (["--flour", "rye", "--icing", "rum"], "`icing` should be one of lemon, cocoa. Received"),
        (["--flour", "rye", "--oven", "wood"], "`oven` should be one of gas, electric. Received"),
    ],
)
def test_mistakes_are_the_settings_own_messages(words, message):
    with pytest.raises(InputError) as caught:
        bake(*words)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_an_argument_without_a_name_may_come_from_a_file(tmp_path):
    (tmp_path / "a.toml").write_text('name = "methods"\nseeds = 2\n')
    settings = parse(ExperimentSettings, "--config", tmp_path / "a.toml")
    assert (settings.name, settings.seeds) == ("methods", 2)
    assert parse(ExperimentSettings, "baselines", "--config", tmp_path / "a.toml").seeds == 2
    with pytest.raises(InputError, match="`name` should be one of pretraining, .*'magic'"):
        parse(ExperimentSettings, "magic")
    with pytest.raises(InputError, match="`name` should be given, as an argument or in a --conf"):
        parse(ExperimentSettings)


def test_an_option_that_does_not_exist_ends_the_command(capsys):
    with pytest.raises(SystemExit) as caught:
        bake("--flour", "rye", "--salt", 1)
    assert caught.value.code == 2 and "--salt" in capsys.readouterr().err


def test_help_tells_choices_and_defaults():
    parser = argparse.ArgumentParser(prog="bake")
    add_arguments(parser, BakeSettings)
    text = " ".join(parser.format_help().split())
    assert "--icing {lemon,cocoa}" in text
    assert "--eggs EGGS how many (default: 3)" in text
    assert "--no-sifted use flour as it is" in text and " --sifted" not in text


@pytest.mark.parametrize("ending", ["json", "toml"])
def test_a_file_of_settings(ending, tmp_path):
    content = {"flour": "rye", "eggs": 2, "no-such": 1, "layers": ["jam"], "sifted": False}
    texts = {
        "json": json.dumps(content),
        "toml": 'flour = "rye"\neggs = 2\nno-such = 1\nlayers = ["jam"]\nsifted = false\n',
    }
    file = tmp_path / f"cake.{ending}"
    file.write_text(texts[ending])
    with pytest.raises(InputError, match="`config` should hold settings of bake: .*'no_such' in"):
        bake("--config", file)
    file.write_text("".join(texts[ending].replace('"no-such": 1, ', "").split("no-such = 1\n")))
    assert bake("--config", file) == BakeSettings("rye", 2, layers=("jam",), sifted=False)
    # The command line counts more.
    assert bake("--config", file, "--eggs", 5, "--flour", "oat").eggs == 5
    assert bake("--config", file, "--layers", "nuts").layers == ("nuts",)


def test_names_in_a_file_may_have_dashes(tmp_path):
    file = tmp_path / "host.toml"
    file.write_text('log = "clicks.csv"\nout = "runs/host"\nhidden-dim = 16\nmax_length = 20\n')
    settings = parse(PretrainSettings, "--config", file)
    assert (settings.hidden_dim, settings.max_length) == (16, 20)


def test_the_run_of_an_earlier_command_is_read(tmp_path):
    earlier = TransferSettings("runs/host", "a.csv", "b", target="t.csv", patch="lora:4", epochs=3)
    run = {"format_version": 2, "command": "transfer", "settings": earlier.recorded()}
    for name in ("run.json", "metrics.json"):
        (tmp_path / name).write_text(json.dumps(run))
        settings = parse(TransferSettings, "--config", tmp_path / name, "--out", "b", "--seed", 1)
        assert settings == earlier.replace(seed=1)
    with pytest.raises(InputError, match="`out` should be given, as --out or in a --config file"):
        parse(TransferSettings, "--config", tmp_path / "run.json")
    with pytest.raises(InputError, match="hold settings of pretrain.*a run of transfer"):
        parse(PretrainSettings, "--config", tmp_path / "run.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", None, "JSON or TOML file that can be read.*No such file"),
        ("a.json", "{", "JSON or TOML file that can be read"),
        ("a.toml", "= 1", "JSON or TOML file that can be read"),
        ("a.json", b"\xff", "JSON or TOML file that can be read"),
        ("a.json", "[1]", "should hold settings by name. Received: .* which holds list"),
        ("a.json", '{"eggs": "2"}', None),
    ],
)
def test_files_that_cannot_be_used_are_one_clear_line(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if message is None:  # readable, but what it holds is checked as everything is
        assert read_config(tmp_path / name, BakeSettings) == {"eggs": "2"}
        message = "`eggs` should be an integer. Received: `eggs` = '2'."
    with pytest.raises(InputError, match=message) as caught:
        bake("--flour", "rye", "--config", tmp_path / name)
    assert "\n" not in str(caught.value)

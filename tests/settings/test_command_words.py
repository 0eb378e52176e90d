"""The words that are printed of a run's settings are what the real parser takes."""

import dataclasses

import pytest

from keras_peterrec import cli
from keras_peterrec.settings.base import type_of
from keras_peterrec.settings.parser import command_words, takes_several

# What fits no sample of its type: one name, or what the command line reads as another value.
OF_NAMES = {"columns": {"user_id": "userId", "timestamp": "ts"}, "devices": 2}


def sample(settings_class, field):
    """Another value than the default, as `run.json` has it, and what the parser makes of it."""
    kind, parse = type_of(settings_class, field.name), field.metadata["parse"]
    if field.name in OF_NAMES:
        value = OF_NAMES[field.name]
        return value, "user_id=userId,timestamp=ts" if isinstance(value, dict) else value
    if takes_several(settings_class, field):
        value = [7, 9] if parse is int else ["a b.csv", "--c=d"]
        return value, value
    if kind is bool:
        value = not field.default
    else:
        value = {int: 7, float: 0.25}.get(kind, "-some, 'text'")
    return value, value


SETTINGS = [command.settings for command in cli.COMMANDS]


@pytest.mark.parametrize("settings_class", SETTINGS, ids=lambda found: found.command)
def test_the_parser_reads_the_words_of_every_setting(settings_class):
    fields = [f for f in dataclasses.fields(settings_class) if not f.metadata["positional"]]
    named = [f for f in dataclasses.fields(settings_class) if f.metadata["positional"]]
    given = {field.name: sample(settings_class, field) for field in fields}
    given |= {field.name: ("name", "name") for field in named}
    parser = cli._parser()
    for names in ([name] for name in given):  # each alone, and then all together
        words = command_words(settings_class, {name: given[name][0] for name in names})
        found = vars(parser.parse_args([*settings_class.command.split(), *words]))
        assert {name: found[name] for name in names} == {name: given[name][1] for name in names}
    words = command_words(settings_class, {name: value for name, (value, _) in given.items()})
    found = vars(parser.parse_args([*settings_class.command.split(), *words]))
    assert {name: found[name] for name in given} == {n: read for n, (_, read) in given.items()}


def test_what_is_a_default_is_left_out():
    for settings_class in SETTINGS:
        defaults = {field.name: field.default for field in dataclasses.fields(settings_class)}
        known = {n: v for n, v in defaults.items() if v is not dataclasses.MISSING}
        assert command_words(settings_class, known) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("pretrain --max-lenght 5", "there is no option --max-lenght, did you mean --max-length?"),
        ("pretrain --max_lenght=5", "there is no option --max_lenght, did you mean --max-length?"),
        ("transfer --epoch-count 5", "there is no option --epoch-count"),
        ("pretrian --log a", "there is no command 'pretrian', did you mean pretrain? (quick"),
        ("benchmark sreve", "there is no command 'sreve', did you mean serve? (serve)"),
        ("report a b", "'b' is too much"),
        ("serve --rest_api_port=8501", "there is no option --rest_api_port: here it is --port, "),
        ("serve --enable_batching", "there is no option --enable_batching: leave it out"),
        (f"report a {'b' * 70_000}", "'bbb"),
    ],
)
def test_a_word_that_is_not_known_is_one_line(words, told, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and len(said) < 2_000
    assert said.startswith(f"keras-peterrec: error: {told}")


def test_names_may_be_written_as_in_python():
    words = ["pretrain", "--log", "a", "--max_length=7", "--no_linear", "--hidden_dim", "3"]
    found = cli._parser().parse_args(words)
    assert (found.max_length, found.linear, found.hidden_dim) == (7, False, 3)
    serve = cli._parser().parse_args(["serve", "--model_base_path", "x", "--model_name", "y"])
    assert (serve.model_base_path, serve.model_name) == ("x", "y")

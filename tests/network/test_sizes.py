"""How large a network is: asked for, or as suits the log."""

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.network.sizes import DROPOUT, LARGE_FROM, LARGE_FROM_EACH, SPARSE_DROPOUT
from keras_peterrec.settings.pretrain import PretrainSettings


@pytest.mark.parametrize(
    ("given", "log", "channels"),
    [
        ({}, (100_000, 10), 64),
        ({}, (LARGE_FROM, 10), 128),
        ({}, (LARGE_FROM, LARGE_FROM // LARGE_FROM_EACH + 1), 64),
        ({"size": "small"}, (LARGE_FROM, 10), 32),
        ({"size": "large"}, (100_000, 10), 128),
        ({"hidden_dim": 24}, (LARGE_FROM, 10), 24),
    ],
)
def test_settings_say_their_channels_or_get_those_that_suit_the_log(given, log, channels):
    settings = PretrainSettings("log.csv", "out", **given).sized(*log)
    assert settings.hidden_dim == channels
    assert settings.sized(10 * LARGE_FROM, 10) == settings  # once said, it stays


@pytest.mark.parametrize(
    ("given", "log", "dropout"),
    [
        ({}, (100_000, 5_000), DROPOUT),
        ({}, (99_999, 5_000), SPARSE_DROPOUT),
        ({"dropout": 0.0}, (99_999, 5_000), 0.0),
        ({"dropout": 0.1, "hidden_dim": 24}, (100_000, 10), 0.1),
    ],
)
def test_where_items_are_seldom_seen_more_is_hidden_unless_settings_say_how_much(
    given, log, dropout
):
    settings = PretrainSettings("log.csv", "out", **given).sized(*log)
    assert settings.dropout == dropout
    assert settings.sized(10**9, 10) == settings


def test_two_answers_are_refused():
    with pytest.raises(InputError, match="`size` should be left out with `hidden_dim`"):
        PretrainSettings("log.csv", "out", size="small", hidden_dim=16)

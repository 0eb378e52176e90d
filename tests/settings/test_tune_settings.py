"""What `tune` may try: read from words, and refused in one line."""

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.transfer import TransferSettings
from keras_peterrec.settings.tune import Searched, TunePretrainSettings, TuneTransferSettings


def pretraining(*search, **given):
    return TunePretrainSettings("a.csv", "out", search=search or None, **given)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (["hiden_dim=8,16"], "settings of pretrain that .*: .*'hiden_dim', did you mean hidden_d"),
        (["seed=1,2"], "settings of pretrain that change how it learns: .* Received: 'seed'"),
        (["dropout=0.4..0.1"], "ranges whose end is above .* Received: 'dropout=0.4..0.1'"),
        (["dropout=0.4"], "at least two values .* Received: 'dropout=0.4'"),
        (["dropout="], "at least two values"),
        (["dropout=0.1.."], "numbers for this setting"),
        (["blocks=4,many"], "integers for this setting. Received: 'blocks=4,many'"),
        (["blocks=1.5..3"], "integers for this setting"),
        (["times=yes,perhaps"], "yes and no for this setting"),
        (["dropout=0.5..1.5"], "`dropout` should be a rate .* = 1.5"),
        (["network=convolution,lstm"], "`network` should be one of .* = 'lstm'"),
        (["blocks=4,8", "blocks=2,4"], "should name a setting once. Received: 'blocks' twice"),
    ],
)
def test_a_search_that_cannot_be_used_is_one_line(search, message):
    with pytest.raises(InputError, match=message) as caught:
        pretraining(*search)
    assert "\n" not in str(caught.value)


def test_values_have_the_type_of_their_setting():
    parse = lambda text: Searched.parse(PretrainSettings, text)
    assert parse("hidden-dim=64, 128").values == (64, 128)
    assert parse("times=yes,no").values == (True, False)
    rate = parse("learning_rate=0.001..0.01")
    assert rate.is_log and rate.rounded(0.00123456) == 0.00123 and rate.rounded(0.0100001) == 0.01
    assert not parse("dropout=0..0.5").is_log and parse("max_length=20..50").low == 20
    patch = Searched.parse(TransferSettings, "patch=bottleneck:8,serial|lora:4")
    assert patch.values == ("bottleneck:8,serial", "lora:4")


def test_what_is_given_is_not_searched():
    names = lambda settings: [searched.name for searched in settings.space()]
    assert {"hidden_dim", "unknown_rate"} <= {*names(pretraining())}
    assert "hidden_dim" not in names(pretraining(hidden_dim=16))
    assert "unknown_rate" not in names(pretraining(objective="masked"))
    task = lambda **given: TuneTransferSettings("host", "a.csv", "out", target="t.csv", **given)
    assert "patch" in names(task()) and "patch" not in names(task(method="all"))

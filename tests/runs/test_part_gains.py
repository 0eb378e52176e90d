"""What the network and the linear part add is said, and when the network was not worth its time."""

import numpy as np
import pytest

from keras_peterrec.metrics.measured import Measured
from keras_peterrec.runs.advice import say_what_parts_add
from keras_peterrec.runs.next_item import METRIC


def measured(gains):
    return Measured({"ndcg@10": float(np.mean(gains))}, {"ndcg@10": gains}, np.arange(len(gains)))


def said(network, linear, both, capsys):
    seconds = {"fit": 477.2}
    result = {"metrics": {"test": measured(both)}, "seconds": seconds}
    say_what_parts_add(
        result, {"network": measured(network), "linear part": measured(linear)}, METRIC
    )
    return result["parts"], capsys.readouterr().err


def test_gains_are_shares_of_the_other_part_alone(capsys):
    linear = np.random.default_rng(0).random(400)
    parts, shown = said(linear * 0.5, linear, linear * 1.03, capsys)
    assert parts["network adds"] == pytest.approx(0.03)
    assert parts["linear part adds"] == pytest.approx(1.06)
    assert "the network adds +3.0%; the linear part adds +106.0%" in shown
    assert "network worth its time" not in parts and "s of training" not in shown


def test_a_network_within_the_noise_was_not_worth_its_time(capsys):
    random = np.random.default_rng(0)
    linear = random.random(400)
    noise = random.normal(0, 0.3, 400)
    parts, shown = said(linear * 0.9, linear, linear + noise - noise.mean() + 0.005, capsys)
    assert parts["network worth its time"] is False
    assert "the network adds +0.9%" in shown and "within noise" in shown
    assert "the network's 477 s of training brought no clear gain here\n" in shown


def test_a_network_that_makes_the_result_worse_is_said_to_do_so(capsys):
    linear = np.random.default_rng(0).random(400)
    parts, shown = said(linear * 0.9, linear, linear * 0.995, capsys)
    assert parts["network adds"] == pytest.approx(-0.005)
    assert parts["network worth its time"] is False
    assert "the linear part alone is better than the sum" in shown
    assert "the network's 477 s of training made the result worse here\n" in shown
    assert "within noise" not in shown


def test_a_part_that_finds_nothing_is_no_division_by_zero(capsys):
    parts, shown = said(np.zeros(9), np.ones(9), np.ones(9), capsys)
    assert parts["linear part adds"] is None and "the linear part adds all of it" in shown

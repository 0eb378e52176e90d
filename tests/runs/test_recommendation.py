"""The loss that a recommendation task is trained with."""

import pytest

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TRAIN
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.runs import recommendation


@pytest.mark.parametrize(("more", "kind"), [(0.0, "bce"), (0.1, "softmax")])
def test_loss_is_chosen_by_the_targets_of_a_row(more, kind, monkeypatch):
    log = load_log("simulated/source")
    source = Sequences(log, Vocabulary(log.item_ids))
    data = recommendation.RecommendationData(
        source, load_log("simulated/target"), 20, cut_history=False
    )
    events = (data.splits[TRAIN].answers >= 0).sum(axis=1).mean()
    assert events > 1.5
    monkeypatch.setattr(recommendation, "MANY_EVENTS", events + more)
    loss = data.loss()
    assert loss.kind == kind and loss.events_per_row == pytest.approx(events)
    assert data.loss("bpr").kind == "bpr"  # what is asked for is taken

"""How runs compile their models."""

import keras
import pytest

from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.causal_pretrainer import CausalPretrainer
from keras_peterrec.optimizers.row_sparse_adam import RowSparseAdam
from keras_peterrec.training.fit import DENSE_ROWS, compile_model


@pytest.mark.parametrize("rows, by_row", [(DENSE_ROWS, False), (DENSE_ROWS + 1, True)])
def test_large_tables_are_updated_by_rows(rows, by_row):
    model = CausalPretrainer(Backbone(rows, 4, (1,)), negatives=5)
    compile_model(model, None, 0.01)
    assert isinstance(model.optimizer, RowSparseAdam) == by_row
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert model.jit_compile

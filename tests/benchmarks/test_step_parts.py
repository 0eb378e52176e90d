"""Where a step's time goes: how time is shared, and what our own step is made of."""

import pytest
from test_train_benchmark import configuration

from keras_peterrec.benchmarks.step_parts import PARTS, part_of, shared_time, step_parts
from keras_peterrec.benchmarks.train_turns import made_batches
from keras_peterrec.benchmarks.train_worker import Steps, build_model
from keras_peterrec.tensorflow_internals import TracedOperation


def test_operations_that_run_at_once_share_the_time():
    norms = [(3.0, 7.0, "norms"), (3.0, 4.0, "norms")]
    found = shared_time([(1.0, 5.0, "products"), *norms, (9.0, 9.5, "taps")])
    assert found["products"] == pytest.approx(2 + 1 / 3 + 1 / 2)
    assert found["norms"] == pytest.approx(2 / 3 + 1 / 2 + 2)
    assert found["taps"] == pytest.approx(0.5)
    assert sum(found.values()) == pytest.approx(6.5)


@pytest.mark.parametrize(
    ("path", "kind", "part"),
    [
        ("while/block_1/convolution_1/Tensordot/MatMul", "dot", "products"),
        ("while/loss/MatMul", "dot", "products"),
        ("while/block_1/norm_1/MatMul", "dot", "norms"),
        ("gradient_tape/while/block_1/norm_2/mul", "fusion", "norms"),
        ("while/block_1/add", "fusion", "taps"),
        ("while/block_1/IdentityN_grad/MatMul", "dot", "products"),
        ("while/block_1/convolution_1/concat", "concatenate", "taps"),
        ("gradient_tape/while/loss/Exp", "fusion", "softmax"),
        ("StatefulPartitionedCall/tables_1/Gather", "ResourceGather", "tables"),
        ("StatefulPartitionedCall/adam_1/Gather", "ResourceGather", "optimizer"),
        ("StatefulPartitionedCall/stack_4", "Pack", "other"),
        ("", "copy", "other"),
    ],
)
def test_an_operation_belongs_to_the_part_that_its_names_say(path, kind, part):
    assert part_of(TracedOperation(path, kind, 0.0, 1.0), "adam_1") == part


def test_all_parts_of_our_step_are_found():
    given = configuration("sampled", items=300, hidden_dim=32, blocks=4, length=40, batch_size=32)
    steps = Steps(build_model(given), made_batches(given))
    steps.step()
    found = step_parts(steps.step, 3, steps.model.optimizer.name)
    assert list(found) == list(PARTS) and sum(found.values()) == pytest.approx(1.0)
    assert all(found[part] > 0 for part in PARTS), found

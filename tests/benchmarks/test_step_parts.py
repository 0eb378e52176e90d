"""Where a step's time goes: how time is shared, and what our own step is made of."""

import pytest
import tensorflow as tf
from step_parts import PARTS, part_of, shared_time, step_parts
from test_train_benchmark import configuration
from traced_operations import TracedOperation, traced_operations
from train_turns import made_batches
from train_worker import Steps, build_model


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


@pytest.mark.slow
def test_all_parts_of_our_step_are_found():
    given = configuration("sampled", items=300, hidden_dim=32, blocks=4, length=40, batch_size=32)
    steps = Steps(build_model(given), made_batches(given))
    steps.step()
    found = step_parts(steps.step, 3, steps.model.optimizer.name)
    assert list(found) == list(PARTS) and sum(found.values()) == pytest.approx(1.0)
    assert all(found[part] > 0 for part in PARTS), found


@pytest.mark.slow
def test_a_trace_says_what_ran_inside_and_outside_of_xla():
    @tf.function(jit_compile=True)
    def compiled(x, steps):
        def body(step, x):
            with tf.name_scope("norm"):
                x = x - tf.reduce_mean(x, -1, keepdims=True)
            return step + 1, tf.matmul(x, x)

        return tf.while_loop(lambda step, _: step < steps, body, (0, x), maximum_iterations=9)[1]

    @tf.function
    def step(x):
        with tf.name_scope("tables"):
            rows = tf.gather(x, [3, 1])
        return rows, compiled(x, tf.constant(4))

    x = tf.ones([300, 300])
    step(x)
    operations = traced_operations(lambda: step(x))
    explanation = f"TensorFlow {tf.__version__} writes another trace: {operations}"
    assert any("tables" in o.path.split("/") and o.kind == "GatherV2" for o in operations), (
        explanation
    )
    assert sum(o.kind == "dot" for o in operations) == 4, explanation
    assert any("norm" in o.path.split("/") for o in operations), explanation
    assert not any(o.kind == "while" for o in operations), explanation
    times = [(o.began, o.ended) for o in operations]
    assert all(began <= ended < began + 60 for began, ended in times), explanation
    assert max(times)[0] - min(times)[0] < 60, explanation

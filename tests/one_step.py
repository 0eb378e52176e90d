"""A pretrainer's own training step beside Keras' gradients of its loss."""

import numpy as np
import tensorflow as tf


def check_step(pretrainer, history, targets):
    """One step of plain gradient descent moves every weight by its gradient times the rate."""
    pretrainer.compile("sgd", jit_compile=False)
    history, targets = tf.constant(history, tf.int32), tf.constant(targets, tf.int32)
    with tf.GradientTape() as tape:
        loss = pretrainer.compute_loss(history, targets, pretrainer(history, training=True))
    weights = pretrainer.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    rate = float(pretrainer.optimizer.learning_rate)
    gradients = [np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients]
    expected = [np.asarray(weight) - rate * g for weight, g in zip(weights, gradients)]
    pretrainer.train_step((history, targets))
    for weight, value in zip(weights, expected):
        np.testing.assert_allclose(np.asarray(weight), value, atol=1e-6, err_msg=weight.path)

"""What networks cost beside each other: a training step, one more event of a user, and an answer.

    python tests/benchmarks/networks.py [--networks convolution attention attention:window=128]

As `pretrain` makes them, with dropout and the full softmax of a small catalogue, in batches of
about 1,000 events. Networks take turns, so that what else the machine does falls on all; ratios
are to the first of them.
"""

import argparse

import numpy as np
import tensorflow as tf
from incremental import medians
from train_worker import Steps

import keras_peterrec as kp
from keras_peterrec.benchmarks.report import describe_machine
from keras_peterrec.runs.host_life import new_pretrainer
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.training.fit import compile_model
from keras_peterrec.transfer.incremental_task import IncrementalTask

EVENTS = 1000  # in a batch
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--networks", nargs="+", default=["convolution", "attention"])
parser.add_argument("--items", type=int, default=3_000)
parser.add_argument("--lengths", type=int, nargs="+", default=[64, 200, 1000, 4096])
parser.add_argument("--histories", type=int, nargs="*", default=[50, 200])
parser.add_argument("--users", type=int, nargs="+", default=[1, 32])
parser.add_argument("--rounds", type=int, default=8)
parser.add_argument("--burst", type=int, default=5)


def of_settings(network, options):
    settings = PretrainSettings("log.csv", "out", network=network).sized(0, 0)
    return new_pretrainer(settings, options.items)


def steps(options, length):
    """Training steps of each network, `{network: callable}`."""
    rows = max(EVENTS // length, 1)
    batches = np.random.default_rng(0).integers(4, options.items, (8, rows, length + 1))
    taken = {}
    for network in options.networks:
        model = of_settings(network, options)
        compile_model(model, None, 1e-3)
        taken[network] = Steps(model, batches).step
    return taken


def events(options, users):
    """One more event of so many users, and an answer of a task with a patch, for each network."""
    items, taken = np.random.default_rng(0).integers(4, options.items, (users, 51)), {}
    for network in options.networks:
        backbone = of_settings(network, options).backbone
        head = Classification(list("abcdefg")).new_head()
        task = IncrementalTask(kp.build_task(backbone, head, "patch", "bottleneck:8"))
        step, state = tf.function(task.step), tf.constant(task.read(items[:, :-1]))
        item = tf.constant(items[:, -1])
        taken[network] = lambda step=step, state=state, item=item: step(state, item)[1].numpy()
    return taken


def answers(options, asked):
    """The states of so many users after histories of a length that the graph does not know."""
    ids = np.random.default_rng(0).integers(4, options.items, asked)
    ids, taken = tf.constant(ids, "int32"), {}
    for network in options.networks:
        model = of_settings(network, options)
        signature = [tf.TensorSpec([None, None], "int32")]
        answer = tf.function(model.user_states, input_signature=signature)
        taken[network] = lambda answer=answer: answer(ids).numpy()
    return taken


def main():
    options = parser.parse_args()
    print(f"machine: {describe_machine()}")
    print(f"V {options.items}, as `pretrain` has them")
    cells = [(f"step, L {length}", steps, length) for length in options.lengths]
    cells += [(f"one more event of {users} users", events, users) for users in options.users]
    cells += [
        (f"an answer to {users} users, L {length}", answers, (users, length))
        for users in options.users
        for length in options.histories
    ]
    for what, make, size in cells:
        found = medians(make(options, size), options)
        first = found[options.networks[0]]
        said = [f"{name} {ms:.2f} ms ({ms / first:.2f})" for name, ms in found.items()]
        print(f"{what}: {', '.join(said)}", flush=True)


if __name__ == "__main__":
    main()

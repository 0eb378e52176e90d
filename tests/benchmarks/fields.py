"""What times and fields cost: a training step and a served answer, beside items alone.

    python tests/benchmarks/fields.py [--rounds 9]

Both hosts stand in one process and take turns, so that what else the machine does falls on both.
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
import tensorflow as tf

from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.field_kinds import Categories, Numbers, TimeUntilNext
from keras_peterrec.log.vocabulary import Vocabulary, id_of
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.training.fit import compile_model
from keras_peterrec.transfer.host import Host

ITEMS, TOKENS, ROWS, EVENTS = 10_000, 1_000, 32, 50
FIELDS = EventFields(
    [
        TimeUntilNext(),
        Categories("kind", ["view", "cart", "buy"]),
        Categories("channel", [f"c{n}" for n in range(20)]),
        Numbers("price", [float(n) for n in range(31)], 10.0),
        Numbers("amount", [float(n) for n in range(31)], 10.0),
    ]
)


def host_of(fields):
    network = ConvolutionNetwork(id_of(ITEMS), fields=fields.sizes)
    pretrainer = CausalPretrainer(network, tied=False, seed=0)
    compile_model(pretrainer, None, 2e-3, True)
    vocabulary = Vocabulary([f"i{n}" for n in range(ITEMS)])
    return Host(pretrainer, vocabulary, max_length=100, fields=fields)


def step_of(host):
    draw, sizes = np.random.default_rng(0), host.fields.sizes.values()
    ids = draw.integers(id_of(0), id_of(ITEMS), (1, TOKENS))
    columns = [ids, *(draw.integers(0, size, ids.shape) for size in sizes)]
    history = tf.constant(np.stack(columns, -1) if sizes else ids, tf.int32)
    targets = tf.constant(draw.integers(id_of(0), id_of(ITEMS), ids.shape), tf.int32)
    step = tf.function(lambda: host.pretrainer.train_step((history, targets))["loss"])
    return lambda: step().numpy()


def answer_of(host, folder, told):
    export(host, {}, f"{folder}/{len(host.fields)}/1")
    model = ExportedModel(f"{folder}/{len(host.fields)}/1")
    draw = np.random.default_rng(0)
    more = lambda n: (
        f"@{1_700_000_000 + 60 * n};kind=view;channel=c3;price={n % 30}.5;amount=2" if told else ""
    )
    texts = [
        " ".join(f"i{item}{more(n)}" for n, item in enumerate(draw.integers(ITEMS, size=EVENTS)))
        for _ in range(ROWS)
    ]
    return lambda: model.predict("serving_default", texts)


def seconds_of(calls, rounds, times):
    """Median seconds of each of some calls, which take turns."""
    for call in calls:
        call()
    spent = [[] for _ in calls]
    for _ in range(rounds):
        for call, of_call in zip(calls, spent):
            began = time.perf_counter()
            for _ in range(times):
                call()
            of_call.append((time.perf_counter() - began) / times)
    return [statistics.median(of_call) for of_call in spent]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    plain, told = host_of(EventFields()), host_of(FIELDS)
    steps = seconds_of([step_of(plain), step_of(told)], rounds, 10)
    with tempfile.TemporaryDirectory() as folder:
        calls = [answer_of(plain, folder, False), answer_of(told, folder, True)]
        answers = seconds_of(calls, rounds, 5)
    for name, (without, with_fields) in (("step", steps), ("32 answers", answers)):
        print(
            f"{name}: {1e3 * without:.1f} ms with items alone, {1e3 * with_fields:.1f} ms with a "
            f"time and four fields, {with_fields / without:.2f} times"
        )


if __name__ == "__main__":
    main()

"""What the linear part costs in a served answer: an export with it beside the same one without.

    python tests/benchmarks/linear_answers.py --host runs/host --task runs/films runs/gender

Both exports answer in this process, in turns, the same requests: histories of the host's own items
drawn by chance, of as many events as the linear part reads. The table has, for each signature and
number of users in a request, the median milliseconds of both and the median of the ratios of
neighbouring calls.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_peterrec.benchmarks.report import describe_machine
from keras_peterrec.serving.export import export
from keras_peterrec.serving.signature_names import NEXT_ITEM
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task


def export_of(options, folder, with_linear):
    """The signatures of an export of the host and its tasks."""
    host = Host.load(options.host)
    tasks = {path.name: Task.load(path, host) for path in options.task}
    if not with_linear:
        host.pretrainer.linear = None
        for task in tasks.values():
            task.model.linear = None
    export(host, tasks, folder, host_path=options.host)
    return tf.saved_model.load(folder)


def in_turns(calls, rounds):
    """Seconds of each call in every round, `[rounds, len(calls)]`."""
    seconds = np.empty((rounds, len(calls)))
    for call in calls:
        call()  # the first call optimizes the graph
    for number in range(rounds):
        order = range(len(calls)) if number % 2 else reversed(range(len(calls)))
        for place in order:
            began = time.perf_counter()
            calls[place]()
            seconds[number, place] = time.perf_counter() - began
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", type=Path, required=True)
    parser.add_argument("--task", type=Path, nargs="*", default=[])
    parser.add_argument("--events", type=int, default=200, help="of a history")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 32], help="of a request")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    if len({path.name for path in options.task}) < len(options.task):
        parser.error("--task should be folders of different names: they name the signatures")
    ids = Host.load(options.host).vocabulary.items.astype(str)
    chance = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        models = [
            export_of(options, Path(folder) / str(with_linear) / "1", with_linear)
            for with_linear in (True, False)
        ]
        for name in (NEXT_ITEM, *(path.name for path in options.task)):
            for users in options.users:
                drawn = chance.choice(ids, (users, options.events))
                history = tf.constant([" ".join(row) for row in drawn])
                asked = [model.signatures[name] for model in models]
                calls = [lambda answer=answer: answer(history=history) for answer in asked]
                seconds = in_turns(calls, options.rounds)
                ratio = statistics.median(seconds[:, 0] / seconds[:, 1])
                rows.append([name, users, *(1000 * np.median(seconds, axis=0)), ratio])
    print(f"{'signature':<20}{'users':>6}{'ms, with':>10}{'without':>10}{'ratio':>8}")
    for name, users, with_linear, without, ratio in rows:
        print(f"{name:<20}{users:>6}{with_linear:>10.2f}{without:>10.2f}{ratio:>8.2f}")
    print(describe_machine())


if __name__ == "__main__":
    main()

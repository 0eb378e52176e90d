"""The command line. TensorFlow is loaded only once a command has been understood."""

import argparse
import json
import sys

from keras_peterrec.benchmarks.arguments import add_benchmark
from keras_peterrec.errors import InputError
from keras_peterrec.experiments.arguments import add_experiment
from keras_peterrec.runs.export_arguments import add_export
from keras_peterrec.serving.server.arguments import add_serve
from keras_peterrec.tensorflow_start import load_tensorflow

METHODS = ("patch", "all", "head", "last1", "last2", "scratch", "random_host")
INSERTIONS = ("serial", "serial_single", "parallel", "parallel_after_activation")


def main(arguments=None):
    """Runs one command; a user's mistake is one line and exit status 2."""
    options = vars(_parser().parse_args(arguments))
    run, show, failed = (options.pop(key) for key in ("run_command", "show", "failed"))
    as_json, needs_tensorflow = options.pop("json", False), options.pop("needs_tensorflow")
    try:
        if needs_tensorflow or options.get("patches"):
            load_tensorflow()
        result = run(**options)
    except InputError as error:
        print(f"keras-peterrec: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("keras-peterrec: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    if as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        show(result)
    if failed(result):
        sys.exit(2)


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-peterrec",
        description="One behaviour log, many small tasks: pretrain a host, patch it for "
        "each task, serve them all together.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_quickstart, _pretrain, _transfer, _evaluate):
        add(commands)
    add_export(commands, _command)
    for add in (_predict, _inspect):
        add(commands)
    add_experiment(commands, _command)
    add_serve(commands, _command)
    add_benchmark(commands, _command)
    return parser


def _command(commands, name, run, show, text, needs_tensorflow=True, failed=lambda result: False):
    command = commands.add_parser(
        name, help=text, description=text, argument_default=argparse.SUPPRESS
    )
    command.set_defaults(
        run_command=run, show=show, needs_tensorflow=needs_tensorflow, failed=failed
    )
    command.add_argument("--json", action="store_true", help="print only JSON on stdout")
    return command


def _add_devices(add):
    number = lambda text: text if text == "all" else int(text)
    number.__name__ = "devices"  # what argparse calls it in an error
    add(
        "--devices",
        type=number,
        metavar="N|all",
        help="GPUs of this machine to train on "
        "(default: 1, or with TF_CONFIG, all of each machine)",
    )


def _quickstart(commands):
    def run(**options):
        from keras_peterrec.experiments.quickstart import quickstart

        return quickstart(**options)

    def show(result):
        from keras_peterrec.experiments.quickstart import show

        show(result)

    add = _command(
        commands,
        "quickstart",
        run,
        show,
        "the whole job on MovieLens-100K: pretrain, six tasks, compare, export, ask",
    ).add_argument
    add("--out", help="folder (default: runs/quickstart)")
    add("--data", choices=("movielens-100k", "movielens-1m", "simulated"), help="what to run on")
    add("--epochs", type=int, help="at most, of every stage")
    add("--seed", type=int, help="(default: 0)")


def _pretrain(commands):
    def run(**options):
        from keras_peterrec.runs.pretrain import pretrain

        return pretrain(**options)

    add = _command(
        commands, "pretrain", run, _show_metrics, "pretrain a host on a log, without labels"
    ).add_argument
    add(
        "--log",
        required=True,
        help="source log: .csv, .csv.gz, .parquet, or a name such as movielens-100k/source",
    )
    add("--out", required=True, help="new folder for the host")
    add("--objective", choices=("causal", "masked"), help="(default: causal)")
    add("--hidden-dim", type=int, help="channels (default: 64)")
    add("--blocks", type=int, help="residual blocks (default: 8)")
    add("--max-length", type=int, help="events of a history (default: 100)")
    add("--epochs", type=int, help="at most; early stopping ends most runs before")
    add("--batch-size", type=int, help="full windows in a batch (default: about 1,000 events)")
    add("--learning-rate", type=float)
    add("--dropout", type=float)
    add("--unknown-rate", type=float, help="share of inputs hidden as unknown items (causal)")
    add("--min-count", type=int, help="rarer items become unknown (default: 1)")
    add("--seed", type=int, help="(default: 0)")
    _add_devices(add)


def _transfer(commands):
    def run(**options):
        from keras_peterrec.runs.transfer import transfer

        return transfer(**options)

    add = _command(
        commands, "transfer", run, _show_metrics, "train one task on a host"
    ).add_argument
    add("--host", required=True, help="folder of a pretrain run")
    add("--log", required=True, help="source log with the histories")
    add("--target", help="target log: recommend in it")
    add("--labels", help="table of users' labels: classify")
    add("--column", help="column of --labels")
    add("--out", required=True, help="new folder for the task bundle")
    add("--method", choices=METHODS, help="(default: patch)")
    add(
        "--patch",
        metavar="NAME[:NUMBER][+...]",
        help="how to patch (methods patch and "
        "random_host): bottleneck, compacter, "
        "lora, ia3, scale_shift, bias, norm or tokens, such as lora:4+norm (default: bottleneck)",
    )
    add("--insertion", choices=INSERTIONS, help="of a bottleneck (default: parallel)")
    add("--bottleneck", type=int, help="its width (default: channels / 8)")
    add("--inner-skip", action="store_true", help="the paper's skip inside the bottleneck")
    add(
        "--loss",
        choices=("softmax", "bce", "sampled", "bpr"),
        help="of recommendation (default: softmax, or bce where a history has many targets)",
    )
    add("--train-fraction", type=float, help="share of the training users (default: 1)")
    add(
        "--no-cut-history",
        dest="cut_history",
        action="store_false",
        help="read whole histories, for logs whose clocks differ",
    )
    add(
        "--no-summary",
        dest="summary",
        action="store_false",
        help="as in the paper: the head reads the task token's state alone",
    )
    add("--epochs", type=int, help="at most; early stopping ends most runs before")
    add("--batch-size", type=int, help="(default: by the number of rows, 16 to 128)")
    add("--learning-rate", type=float)
    add("--dropout", type=float, help="on the user's state")
    add("--seed", type=int, help="(default: 0)")
    _add_devices(add)


def _evaluate(commands):
    def run(**options):
        from keras_peterrec.runs.evaluate import evaluate

        return evaluate(**options)

    add = _command(
        commands, "evaluate", run, _show_metrics, "test metrics of a finished run, computed anew"
    ).add_argument
    add("--run", required=True, help="folder of a pretrain or transfer run")
    add("--host", help="the task's host, where it was moved")
    add("--log", help="another source log")
    add("--target", help="another copy of the target log")
    add("--labels", help="other labels")
    add("--column", help="column of --labels")
    add("--out", help="folder for metrics.json")


def _predict(commands):
    def run(**options):
        from keras_peterrec.runs.predict import predict

        return predict(**options)

    def show(answers):
        from keras_peterrec.runs.tables import print_answers

        print_answers(answers)

    add = _command(commands, "predict", run, show, "ask an exported model").add_argument
    add("--model", required=True, help="a version, such as export/peterrec/1")
    add("--task", action="append", help="name of a task; repeat for more (default: next item)")
    add(
        "--history",
        action="append",
        required=True,
        help='item ids separated by spaces, "1193 661 914"; repeat for more users',
    )


def _inspect(commands):
    def run(**options):
        from keras_peterrec.runs.inspect import inspect

        return inspect(**options)

    add = _command(
        commands,
        "inspect",
        run,
        _show_description,
        "what a host, a task or an export holds",
        needs_tensorflow=False,
    ).add_argument
    add("path", help="its folder")
    add("--patches", action="store_true", help="what every way to patch a host costs")


def _show_metrics(result):
    from keras_peterrec.runs.tables import print_metrics

    print_metrics(result)


def _show_description(result):
    from keras_peterrec.runs.tables import print_description

    print_description(result)

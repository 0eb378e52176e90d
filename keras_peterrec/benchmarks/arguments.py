"""Arguments of `keras-peterrec benchmark`; imports nothing heavy."""


def add_benchmark(commands, add_command):
    """Adds the command and what it can measure.

    Args:
        commands: Subparsers of the command line.
        add_command: Callable `(subparsers, name, run, show, text, needs_tensorflow)` that
            adds a command and returns its parser.
    """
    text = "measure speed and memory on this machine"
    benchmark = commands.add_parser("benchmark", help=text, description=text)
    kinds = benchmark.add_subparsers(title="what is measured", metavar="WHAT", required=True)
    _train(kinds, add_command)
    _serve(kinds, add_command)


def _train(kinds, add_command):
    def run(**options):
        from keras_peterrec.benchmarks.train import benchmark_train

        return benchmark_train(**options)

    def show(result):
        from keras_peterrec.benchmarks.train_report import print_rows

        print_rows(result)

    add = add_command(
        kinds,
        "train",
        run,
        show,
        "training steps, alone or beside a reference",
        needs_tensorflow=False,
    ).add_argument
    add("--out", help="new folder for the tables, metrics.json and the plot")
    add(
        "--sweep",
        action="append",
        metavar="NAME[=A,B,C]",
        help="items, length, batch or channels, and its values; repeat for more "
        "(default: one configuration)",
    )
    add(
        "--loss",
        action="append",
        choices=("backbone", "sampled", "full"),
        help="output loss, or the backbone alone; repeat for more (default: all)",
    )
    add(
        "--reference",
        metavar="PATH",
        help="script to compare with, such as tests/benchmarks/torch_reference.py",
    )
    add(
        "--reference-variant",
        action="append",
        metavar="NAME",
        help="what the script is asked to be; repeat for more",
    )
    add("--reference-python", metavar="PATH", help="Python that runs it (default: this one)")
    add("--items", type=int, help="(default: 50,000)")
    add("--hidden-dim", type=int, help="channels (default: 64)")
    add("--blocks", type=int, help="residual blocks (default: 8)")
    add("--length", type=int, help="positions of a row (default: 50)")
    add("--batch-size", type=int, help="rows of a batch (default: 128)")
    add("--negatives", type=int, help="of the sampled loss (default: 1,000)")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="(default: float32)",
    )
    add("--rounds", type=int, help="turns of each side (default: 5)")
    add("--steps", type=int, help="timed steps of a turn (default: 5)")
    add("--seed", type=int, help="(default: 0)")


def _serve(kinds, add_command):
    def run(**options):
        from keras_peterrec.serving.server.arguments import check_installed

        check_installed()
        from keras_peterrec.benchmarks.serve import benchmark_serve

        return benchmark_serve(**options)

    def show(result):
        from keras_peterrec.benchmarks.serve_report import print_result

        print_result(result)

    add = add_command(
        kinds,
        "serve",
        run,
        show,
        "a server under load, beside the model without a server",
        needs_tensorflow=False,
    ).add_argument
    add("--out", help="new folder for the tables, metrics.json and the plot")
    add(
        "--model",
        metavar="DIR",
        help="an export, such as export/peterrec or export/peterrec/1 "
        "(default: made up, with random weights)",
    )
    add(
        "--url",
        action="append",
        help="a model of another server on this machine, "
        "http://127.0.0.1:8501/v1/models/NAME, in the place of ours; --model is then what it "
        "serves; repeat for more",
    )
    add(
        "--server-option",
        action="append",
        metavar="WORD",
        help="for our `serve`, such as --server-option=--workers=4; repeat for more",
    )
    add(
        "--connections",
        action="append",
        type=int,
        metavar="N",
        help="at a time; repeat for more (default: 1, 16 and 64)",
    )
    add("--seconds", type=float, help="of every measurement (default: 5)")
    add("--items", type=int, help="of the made-up model (default: 50,000)")
    add("--targets", type=int, help="that its task recommends (default: 5,000)")
    add("--hidden-dim", type=int, help="its channels (default: 64)")
    add("--blocks", type=int, help="its residual blocks (default: 8)")
    add("--length", type=int, help="events of a history (default: 50)")
    add("--seed", type=int, help="(default: 0)")

"""Arguments of `keras-peterrec experiment`; imports nothing heavy."""

from keras_peterrec.experiments.plans import PLANS


def add_experiment(commands, add_command):
    """Adds the command.

    Args:
        commands: Subparsers of the command line.
        add_command: Callable `(subparsers, name, run, show, text)` that adds a command
            and returns its parser.
    """

    def run(**options):
        from keras_peterrec.experiments.engine import experiment

        return experiment(**options)

    def show(result):
        from keras_peterrec.experiments.engine import show

        show(result)

    add = add_command(
        commands,
        "experiment",
        run,
        show,
        "an experiment of the paper, or beside it: tables and plots over several seeds",
    ).add_argument
    add("name", metavar="NAME", help="; ".join(f"{p.name}: {p.title}" for p in PLANS.values()))
    add(
        "--dataset",
        metavar="DATASET",
        help="movielens-100k (default), movielens-1m, simulated, "
        "or with --path: amazon, peterrec (the paper's own files)",
    )
    add("--path", help="folder with the files of the dataset")
    add("--tasks", nargs="+", metavar="TASK", help="some of the dataset's tasks (default: all)")
    add(
        "--no-cut-history",
        dest="cut_history",
        action="store_false",
        help="read whole histories, also where the logs share a clock",
    )
    add(
        "--seeds",
        type=int,
        metavar="N",
        help="how many, each with its own split, host and training (default: 3)",
    )
    add("--epochs", type=int, help="at most, of every stage")
    add("--hidden-dim", type=int, help="channels of the hosts (default: 64)")
    add("--blocks", type=int, help="residual blocks of the hosts (default: 8)")
    add("--max-length", type=int, help="events of a history (default: as suits the dataset)")
    add(
        "--shared",
        metavar="DIR",
        help="folder of hosts and runs, which experiments on one dataset may share (default: OUT)",
    )
    add("--out", help="folder (default: runs/experiments/NAME)")

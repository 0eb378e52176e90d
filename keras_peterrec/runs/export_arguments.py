"""Arguments of `keras-peterrec export`; imports nothing heavy."""

from keras_peterrec.errors import InputError

# What each way of using the command takes: needed, allowed.
_WAYS = {
    "check": ((), ()),
    "base": ((), ("task", "remove_task", "host", "k")),
    "out": (("host",), ("task", "k", "incremental", "mixed")),
}


def add_export(commands, add_command):
    """Adds the command, which writes an export, extends one or checks one.

    Args:
        commands: Subparsers of the command line.
        add_command: Callable `(subparsers, name, run, show, text, failed)` that adds
            a command and returns its parser.
    """
    add = add_command(
        commands,
        "export",
        _run,
        _show,
        "write one SavedModel with every task in it",
        failed=lambda result: bool(result.get("problems")),
    ).add_argument
    add("--host", help="folder of a pretrain run")
    add("--task", action="append", help="folder of a transfer run; repeat for more")
    add("--out", help="new version, such as export/peterrec/1")
    add("--k", type=int, help="items in a recommendation (default: 10)")
    add(
        "--incremental",
        action="store_true",
        help="let every task take single events as well, as NAME_step",
    )
    add(
        "--mixed",
        metavar="FOLDER",
        help="put the other patch tasks in this folder behind one signature, mixed",
    )
    add(
        "--base",
        metavar="DIR",
        help="a published export, such as export/peterrec: write its next version, with each "
        "--task besides and without each --remove-task",
    )
    add(
        "--remove-task",
        action="append",
        metavar="NAME",
        help="task of --base to leave out; repeat for more",
    )
    add(
        "--check",
        metavar="DIR",
        help="write nothing; say what is wrong with a version for TensorFlow Serving",
    )


def _run(**options):
    way = choose_way(options)
    if way == "check":
        from keras_peterrec.runs.check_export_folder import check_export_folder

        return check_export_folder(options["check"])
    if way == "base":
        from keras_peterrec.runs.extend_export import extend_export

        return extend_export(**options)
    from keras_peterrec.runs.export import export_runs

    return export_runs(**{"task": [], **options})


def choose_way(options):
    """Which of the three ways options ask for: `"out"`, `"base"` or `"check"`.

    Raises:
        InputError: none or several of them, or an option of another one.
    """
    given = [name for name in _WAYS if name in options]
    if len(given) != 1:
        received = " and ".join(f"--{name}" for name in given) or "none of them"
        raise InputError(
            "`export` should be given --host and --out for a new export, --base for the next "
            f"version of one, or --check. Received: {received}."
        )
    (way,) = given
    needed, allowed = _WAYS[way]
    for name in needed:
        if name not in options:
            raise InputError(f"`{name}` should be given with --{way}. Received: none.")
    for name in options:
        if name not in (way, *needed, *allowed):
            flag = name.replace("_", "-")
            raise InputError(f"`{name}` cannot be used with --{way}. Received: --{flag}.")
    return way


def _show(result):
    if "problems" not in result:
        from keras_peterrec.runs.tables import print_description

        print_description(result)
    elif result["problems"]:
        print("\n".join(result["problems"]))
    else:
        print(f"{result['path']}: nothing wrong ({', '.join(result['checks'])})")

"""Arguments of `keras-peterrec serve`; imports nothing heavy."""

import importlib.util
import sys

from keras_peterrec.errors import InputError

_NEEDED = ("uvicorn", "httptools", "grpc", "tensorflow_serving")


def add_serve(commands, add_command):
    """Adds the command.

    Args:
        commands: Subparsers of the command line.
        add_command: Callable `(subparsers, name, run, show, text, needs_tensorflow)` that
            adds a command and returns its parser.
    """

    def run(**options):
        check_installed()
        # Imported only now: the command line must not need what it uses.
        from keras_peterrec.serving.server.serve import serve
        from keras_peterrec.serving.server.server_settings import ServerSettings

        return serve(ServerSettings(**options), _announcement(options.get("host", "127.0.0.1")))

    text = "answer over REST and gRPC as TensorFlow Serving does"
    add = add_command(commands, "serve", run, lambda result: None, text).add_argument
    add(
        "--model-base-path",
        help="folder with a directory for each version, such as export/peterrec",
    )
    add("--model-config-file", help="TensorFlow Serving's models.config, for several models")
    add("--model-name", help="(default: peterrec)")
    add("--host", help="address to listen on (default: 127.0.0.1, this machine alone)")
    add("--port", type=int, help="of REST and the page (default: 8501; 0: any free one)")
    add("--grpc-port", type=int, help="(default: 8500; 0: any free one; -1: none)")
    add("--titles", metavar="FILE", help="CSV with item_id and title, for the page")
    add("--cors", action="store_true", help="let web pages of other origins ask")
    add(
        "--no-monitoring",
        dest="monitoring",
        action="store_false",
        help="no metrics at /monitoring/prometheus/metrics",
    )
    add("--poll-seconds", type=float, help="between looks for new versions (default: 1; 0: none)")
    add(
        "--config-poll-seconds",
        type=float,
        help="between looks into --model-config-file (default: 0, none)",
    )
    add("--workers", type=int, help="runs at a time (default: one a processor)")
    add("--max-batch-rows", type=int, help="histories that are run together (default: 256)")
    add("--max-batch-bytes", type=int, help="that are run together (default: 4 MiB)")
    add("--max-rows", type=int, help="histories of one request (default: 4096)")
    add("--max-waiting", type=int, help="requests that may wait to be run (default: 1000)")
    add(
        "--max-waiting-bytes",
        type=int,
        help="of all requests that are not answered yet (default: 256 MiB)",
    )
    add("--max-head-bytes", type=int, help="of a request's line and headers (default: 64 KiB)")
    add("--max-body-bytes", type=int, help="of one request (default: 64 MiB)")
    add("--max-history-bytes", type=int, help="of one history (default: 4 MiB)")
    add("--max-connections", type=int, help="open at a time (default: 1024)")
    add(
        "--read-seconds",
        type=float,
        help="for a request's head to arrive, and for its body (default: 30)",
    )
    add(
        "--request-timeout",
        type=float,
        metavar="SECONDS",
        help="for an answer, else 504; waiting counts (default: 30; 0: any time)",
    )
    add("--shutdown-seconds", type=float, help="for answers after SIGTERM (default: 30)")


def check_installed():
    """Refuses where the server's packages are missing.

    Raises:
        InputError: one is.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            "`serve` needs packages that are not installed "
            f'({", ".join(missing)}): pip install "keras-peterrec[serve]"'
        )


def _announcement(host):
    def announce(port, grpc_port):
        text = f"keras-peterrec: http://{host}:{port} answers"
        if grpc_port is not None:
            text += f", gRPC at {host}:{grpc_port}"
        print(text, file=sys.stderr, flush=True)

    return announce

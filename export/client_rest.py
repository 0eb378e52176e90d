"""A client of TensorFlow Serving over REST. It needs nothing but Python.

python export/client_rest.py --task films "1193 661 914" "2355"
python export/client_rest.py --task films --classify "1193 661 914"
python export/client_rest.py --task spend --regress "1193 661 914"
python export/client_rest.py --status
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from urllib.parse import quote


class ServingError(Exception):
    """The server refused a request or could not be reached; the message has its own words."""


def predict(server, task, histories, model="peterrec", label=None, timeout=10.0):
    """Asks for the answers to raw histories.

    Args:
        server: str, such as `"http://localhost:8501"`.
        task: str. A signature: a task's name, `serving_default` or `embed`.
        histories: list of str, one for each user: item ids separated by spaces.
        model: str. Defaults to `"peterrec"`.
        label: str, such as `"stable"`. Defaults to `None`, the newest version.
        timeout: float. Seconds. Defaults to `10.0`.

    Returns:
        list with one answer for each history. An answer is a dict from output name to value; if
        the signature has one output, as `embed` has, it is the value alone.

    Raises:
        ValueError: there are no histories. With batching, TensorFlow Serving would never answer.
        ServingError: the server refuses the request or cannot be reached.
    """
    body = {"signature_name": task, "instances": _some(histories)}
    return _ask(f"{_url(server, model, label)}:predict", body, timeout)["predictions"]


def select(server, task, rows, model="peterrec", label=None, timeout=10.0):
    """Asks for recommendations from what each row allows; see `predict`.

    The server wants every input of a signature in every row: what a row leaves out is filled in
    here.

    Args:
        server: str.
        task: str. A task that recommends, or `serving_default`.
        rows: list of dict with `history` and those of `allow` (str, only these items), `deny` (str,
            none of these), `k` (int) and `keep_seen` (bool, whether items of the history may be
            recommended) that are asked for.

    Returns, raises: see `predict`.
    """
    filled = [{"allow": "", "deny": "", "k": 0, "keep_seen": False, **row} for row in rows]
    rows = [{**row, "keep_seen": int(row["keep_seen"])} for row in filled]
    return predict(server, f"{task}_select", rows, model, label, timeout)


def classify(server, task, histories, model="peterrec", label=None, timeout=10.0):
    """Asks for `[[label, score], ...]` for each history; see `predict`."""
    body = {"signature_name": f"{task}_classify", "examples": _examples(histories)}
    return _ask(f"{_url(server, model, label)}:classify", body, timeout)["results"]


def regress(server, task, histories, model="peterrec", label=None, timeout=10.0):
    """Asks for a number for each history; see `predict`."""
    body = {"signature_name": f"{task}_regress", "examples": _examples(histories)}
    return _ask(f"{_url(server, model, label)}:regress", body, timeout)["results"]


def available_versions(server, model="peterrec", timeout=10.0):
    """Asks which versions can answer now, a list of int.

    A reply alone does not mean that: versions that are loading or unloaded are listed too.
    """
    found = _ask(_url(server, model, None), None, timeout)["model_version_status"]
    return [int(status["version"]) for status in found if status["state"] == "AVAILABLE"]


def _some(histories):
    histories = list(histories)
    if not histories:
        raise ValueError("`histories` should be one string or more. Received: none.")
    return histories


def _examples(histories):
    return [{"history": history.split()} for history in _some(histories)]


def _url(server, model, label):
    url = f"{server.rstrip('/')}/v1/models/{quote(model, safe='')}"
    return url if label is None else f"{url}/labels/{quote(label, safe='')}"


def _ask(url, body, timeout):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise ServingError(_reason(error)) from error
    except (OSError, ValueError) as error:
        raise ServingError(f"{url}: {error}") from error


def _reason(error):
    content = error.read().decode("utf-8", "replace")
    try:
        return f"{error.code}: {json.loads(content)['error']}"
    except (KeyError, TypeError, ValueError):  # some refusals have no body
        return f"{error.code}: {content.strip() or error.reason}"


def main(arguments=None):
    """Prints the server's answer as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("histories", nargs="*", help='one for each user, such as "1193 661 914"')
    parser.add_argument("--server", default="http://localhost:8501", help="(default: %(default)s)")
    parser.add_argument("--model", default="peterrec", help="(default: %(default)s)")
    parser.add_argument("--task", default="serving_default", help="(default: the next item)")
    parser.add_argument("--label", help="version label, such as stable (default: newest version)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds (default: 10)")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--classify", action="store_true", help="ask for [label, score] pairs")
    verbs.add_argument("--regress", action="store_true", help="ask for a number")
    verbs.add_argument("--status", action="store_true", help="print the versions that answer now")
    options = parser.parse_args(arguments)
    if not options.status and not options.histories:
        parser.error("`histories` should be one string or more. Received: none.")
    ask = classify if options.classify else regress if options.regress else predict
    asked = (options.task, options.histories, options.model, options.label)
    try:
        if options.status:
            answer = available_versions(options.server, options.model, options.timeout)
        else:
            answer = ask(options.server, *asked, options.timeout)
    except ServingError as error:
        print(f"client_rest: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()

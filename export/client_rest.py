"""Asks TensorFlow Serving over REST; needs nothing but Python.

python export/client_rest.py --task films "1193 661 914" "2355"
python export/client_rest.py --task films --classify "1193 661 914"
python export/client_rest.py --status
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from urllib.parse import quote


class ServingError(Exception):
    """What the server said no to, in its own words."""


def predict(server, task, histories, model="peterrec", label=None, timeout=10.0):
    """Answers to raw histories.

    Args:
        server: str, such as `"http://localhost:8501"`.
        task: str. A signature: a task's name, `serving_default` or `embed`.
        histories: list of str, item ids separated by spaces, one string a user.
        model: str. Defaults to `"peterrec"`.
        label: str, such as `"stable"`. Defaults to `None`, the newest version.
        timeout: float, seconds.

    Returns:
        list with one answer a history: dict of lists, or for `embed` a list.

    Raises:
        ServingError: the server refuses, or is not there.
    """
    body = {"signature_name": task, "instances": list(histories)}
    return _ask(f"{_path(server, model, label)}:predict", body, timeout)["predictions"]


def classify(server, task, histories, model="peterrec", label=None, timeout=10.0):
    """The same answers as `[[label, score], ...]` for each history; see `predict`."""
    examples = [{"history": history.split()} for history in histories]
    body = {"signature_name": f"{task}_classify", "examples": examples}
    return _ask(f"{_path(server, model, label)}:classify", body, timeout)["results"]


def available_versions(server, model="peterrec", timeout=10.0):
    """Versions that answer now, a list of int. That the server replies is not enough."""
    found = _ask(_path(server, model, None), None, timeout)["model_version_status"]
    return [int(status["version"]) for status in found if status["state"] == "AVAILABLE"]


def _path(server, model, label):
    path = f"{server.rstrip('/')}/v1/models/{quote(model, safe='')}"
    return path if label is None else f"{path}/labels/{quote(label, safe='')}"


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
    except (KeyError, TypeError, ValueError):  # not every refusal has a body
        return f"{error.code}: {content.strip() or error.reason}"


def main(arguments=None):
    """Prints what the server answers, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("histories", nargs="*", help='item ids, "1193 661 914"; one a user')
    parser.add_argument("--server", default="http://localhost:8501")
    parser.add_argument("--model", default="peterrec")
    parser.add_argument("--task", default="serving_default", help="(default: the next item)")
    parser.add_argument("--label", help="version label, such as stable (default: the newest)")
    parser.add_argument("--classify", action="store_true", help="ask for [label, score] pairs")
    parser.add_argument("--status", action="store_true", help="versions that answer now")
    options = parser.parse_args(arguments)
    try:
        if options.status:
            answer = available_versions(options.server, options.model)
        elif not options.histories:
            parser.error("`histories` should be one string or more. Received: none.")
        else:
            ask = classify if options.classify else predict
            answer = ask(
                options.server, options.task, options.histories, options.model, options.label
            )
    except ServingError as error:
        print(f"client_rest: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()

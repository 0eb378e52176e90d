"""A few of TensorFlow Serving's REST answers, in its own layout."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

ROUTE = re.compile(
    r"/v1/models/([^/:?]+)(?:/labels/([^/:?]+))?(?::(predict|classify)|(/metadata))?"
)
FILMS = {"items": ["2355", ""], "scores": [0.5, -3.40282347e38]}
SEVERAL = {"films_step": {"state_bytes", "item", "seen"}, "mixed": {"history", "task"}}
STATUS = [
    {"version": version, "state": state, "status": {"error_code": "OK", "error_message": ""}}
    for version, state in (("3", "LOADING"), ("2", "AVAILABLE"), ("1", "END"))
]


class RestStub:
    """Serves the model `peterrec` with the task `films` and `embed`; notes what it answers.

    Attributes `address` ("host:port") and `statuses`, a list of (path, status).
    """

    def __enter__(self):
        self.statuses = []
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/monitoring/prometheus/metrics":
            return self.reply(200, "# TYPE\n", "text/plain")
        self.reply(*answer(self.path, None))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(*answer(self.path, json.loads(body)))

    def reply(self, status, text, kind="application/json"):
        self.stub.statuses.append((self.path, status))
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def answer(path, body):
    """Status and text of a reply."""
    match = ROUTE.fullmatch(path)
    if not match:
        return 400, error(f"Malformed request: POST {path}")
    model, label, verb, metadata = (part and unquote(part) for part in match.groups())
    if model == "bodyless":
        return 400, ""
    if model != "peterrec":
        return 404, error(f"Servable not found for request: Latest({model})")
    if label not in (None, "stable"):
        return 400, error(f"Unrecognized servable version label: {label}")
    if verb is None:
        found = {"metadata": {}} if metadata else {"model_version_status": STATUS}
        return 200, json.dumps(found, indent=1) + "\n"
    return (predict if verb == "predict" else classify)(body)


def predict(body):
    rows, name = body["instances"], body.get("signature_name", "serving_default")
    if name in SEVERAL:
        assert all(set(row) == SEVERAL[name] for row in rows)
        return 200, json.dumps({"predictions": [FILMS for _ in rows]}, indent=4)
    if not all(isinstance(row, str) for row in rows):
        return 400, error(
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            f"JSON Value: {rows[0]} Type: Number is not of expected type: string"
        )
    if name == "embed":
        return 200, '{\n    "predictions": [[0.25, 1.0]\n    ]\n}'
    if name not in ("films", "serving_default"):
        return 400, error(f'Serving signature name: "{name}" not found in signature def')
    text = ", ".join(json.dumps(FILMS, indent=8) for _ in rows)
    return 200, f'{{\n    "predictions": [{text}\n    ]\n}}'


def classify(body):
    if body["signature_name"] != "films_classify":
        return 400, error(f"No signature was found with the name: {body['signature_name']}")
    assert all(isinstance(example["history"], list) for example in body["examples"])
    pairs = [list(pair) for pair in zip(FILMS["items"], FILMS["scores"])]
    return 200, json.dumps({"results": [pairs for _ in body["examples"]]}, indent=4)


def error(text):
    return json.dumps({"error": text}, indent=4)

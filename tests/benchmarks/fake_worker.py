"""A worker that only says it has worked: 40 ms a step, a line in `log` for each turn."""

import json
import sys
import time
from pathlib import Path

settings = json.loads(sys.argv[1])
variant = settings["variant"] or "plain"
log = Path(__file__).with_name("turns.log")


def note(what):
    with log.open("a") as file:
        file.write(f"{variant} {what}\n")


if variant == "broken":
    sys.exit("a module is missing")
if variant == "unwilling":
    print(json.dumps({"refused": "not in this precision"}))
    sys.exit()
ready = {"name": variant, "start_bytes": 10, "versions": {"fake": "1"}}
print(json.dumps(ready), flush=True)
for turn, request in enumerate(sys.stdin):
    if request.startswith("again"):
        print(json.dumps({"second_seconds": 0.5}), flush=True)
        continue
    if request.startswith("parts"):
        print(json.dumps({"parts": {"products": 0.75, "idle": 0.25}}), flush=True)
        continue
    note(f"begins {request.split()[0]}")
    if variant == "dying" and turn == 1:
        sys.exit("out of memory")
    time.sleep(0.02)
    note("ends")
    steps = int(request.split()[1])
    answer = {"milliseconds": [40.0] * steps, "peak_bytes": 20, "loss": 1.5}
    print(json.dumps(answer), flush=True)

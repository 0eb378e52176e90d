"""TensorFlow Serving's own answers, if its transcripts are there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PLACES = [place / "shared" / "data" / "tf_serving" for place in (ROOT, ROOT.parent)]
FOLDER = next((place for place in _PLACES if place.is_dir()), None)

needed = pytest.mark.skipif(FOLDER is None, reason="the transcripts are not there")


def load(name):
    """The entries of one file; none if it is not there."""
    return json.loads((FOLDER / name).read_text()) if FOLDER else []


def same_message(ours, theirs):
    """Whether two messages are the same but for white space and the offset of invalid JSON."""
    return _plain(ours) == _plain(theirs)


def same_json(ours, theirs):
    """Whether two bodies hold the same JSON; white space and the order of keys may differ."""
    return _comparable(json.loads(ours)) == _comparable(json.loads(theirs))


def _plain(message):
    return re.sub(r"\s", "", re.sub(r"( at offset: )\d+", r"\1", message))


def _comparable(value):
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, str):
        return _plain(value)
    return repr(value)  # of NaN, which does not equal itself, and of 1 beside 1.0

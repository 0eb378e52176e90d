"""A small task of every kind on simulated data, as arguments of `transfer`; and later days."""

import numpy as np

from keras_peterrec.log.events import Events
from keras_peterrec.log.sources import load_log

TARGET = {"target": "simulated/target", "epochs": 1}
GENDER = {"labels": "simulated/users", "column": "gender", "kind": "classification", "epochs": 1}
TOPICS = {"labels": "simulated/users", "column": "topics", "kind": "multilabel", "epochs": 1}
SPEND = {"labels": "simulated/users", "column": "spend", "kind": "regression", "epochs": 1}
NEW = ["new0", "new1", "new2"]


def next_days():
    """The simulated log with three items more, each in the place of a known one now and then."""
    log = load_log("simulated/source")
    rows = np.argsort(log.timestamps, kind="stable")  # as they happened
    names = log.item_ids[log.items[rows]].astype(object)
    random = np.random.default_rng(0)
    for new, known in zip(NEW, list(dict.fromkeys(names))):
        places = np.flatnonzero(names == known)
        names[random.choice(places, len(places) // 2, replace=False)] = new
    return Events.from_columns(
        log.user_ids[log.users[rows]], names, log.timestamps[rows], "next_days"
    )

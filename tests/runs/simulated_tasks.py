"""A small task of every kind on simulated data, as arguments of `transfer`."""

TARGET = {"target": "simulated/target", "epochs": 1}
GENDER = {"labels": "simulated/users", "column": "gender", "kind": "classification", "epochs": 1}
TOPICS = {"labels": "simulated/users", "column": "topics", "kind": "multilabel", "epochs": 1}
SPEND = {"labels": "simulated/users", "column": "spend", "kind": "regression", "epochs": 1}

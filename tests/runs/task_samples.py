"""Small tasks on simulated data, as arguments of `transfer`."""

TARGET = {"target": "simulated/target", "epochs": 1}
GENDER = {"labels": "simulated/users", "column": "gender", "epochs": 1}

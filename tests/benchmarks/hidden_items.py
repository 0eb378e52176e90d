"""How good are vectors of items that nobody clicked yet, from their titles, genres and years?

    python tests/benchmarks/hidden_items.py --out runs/hidden-items

A tenth of MovieLens' films, by a hash of their id, is hidden: hosts are pretrained without their
events, on items alone ("columns") and with the fields genres and year ("fields"), and get their
vectors from `add_items`. They are asked for those of users' last two events that are of hidden
films, among the hidden films alone and among all. Beside them stand a host that was pretrained with
all films but those last two events, the popularity of the films in its training, and the mean of
all vectors, which is what an item without columns gets. The networks answer alone.
"""

import argparse
import re
from pathlib import Path

import numpy as np

from keras_peterrec.log.event_split import TEST, VALIDATION
from keras_peterrec.log.item_features import ItemFeatures
from keras_peterrec.log.sources.movielens import MovieLens
from keras_peterrec.log.splits import count_split
from keras_peterrec.log.user_splits import user_fractions
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.training.inference import outputs_of
from keras_peterrec.transfer.grown_host import add_items
from keras_peterrec.transfer.host import Host


def ndcg(scores, targets, k=10):
    """NDCG@k of one target in each row; ties count against it."""
    of_target = np.take_along_axis(scores, targets[:, None], axis=1)
    ranks = np.sum(scores >= of_target, axis=1)
    return float(np.mean(np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)))


def asked(host, log, hidden):
    """Users' states before the events asked for, and the places of the targets."""
    sequences = log.encode(host.vocabulary)
    of_parts = [sequences.held_out(part) for part in (VALIDATION, TEST)]
    starts, stops, targets = (np.concatenate(parts) for parts in zip(*of_parts))
    wanted = set((host.vocabulary.encode(hidden)).tolist())
    kept = np.array([target in wanted for target in targets])
    arguments = sequences.items, starts[kept], stops[kept], host.max_length
    return outputs_of(host.pretrainer.user_states, *arguments), targets[kept] - FIRST_ITEM


def among_hidden(scores, targets, hidden_places):
    place = {item: n for n, item in enumerate(hidden_places)}
    return ndcg(scores[:, hidden_places], np.array([place[target] for target in targets]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--version", default="100k")
    parser.add_argument("--path", default=None)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tenth", type=int, default=0, help="which films are hidden")
    for name, value in (("hidden-dim", 64), ("blocks", 8), ("max-length", 100), ("epochs", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = vars(parser.parse_args())
    version, path, out, tenth = (options.pop(n) for n in ("version", "path", "out", "tenth"))
    movielens = MovieLens(version, path)
    log = movielens.domain("all")
    films = log.item_ids
    years = [re.findall(r"\((\d{4})\)", movielens.titles[film]) for film in films]
    columns = {
        "title": [movielens.titles[film] for film in films],
        "genres": ["|".join(movielens.genres[film]) for film in films],
        "year": [found[-1] if found else None for found in years],
    }
    features = ItemFeatures.from_columns(films, columns)
    is_hidden = user_fractions(films, tenth, "hidden films") < 0.1
    hidden = films[is_hidden]
    quick = {**options, "linear": False, "baselines": False}
    told = {"items": {"item_id": films, **columns}, "item_fields": "genres,year"}
    known = log.select(~is_hidden[log.items])
    hosts = {}
    for name, seen, more in (("columns", known, {}), ("fields", known, told), ("trained", log, {})):
        pretrain(seen, Path(out) / name, **quick, **more)
        hosts[name] = Host.load(Path(out) / name)
        if seen is known:
            hosts[name] = add_items(hosts[name], features)
    counts = dict(zip(films, count_split(log).counts))
    for name, host in hosts.items():
        known = np.isin(hidden, host.vocabulary.items.astype(str))
        users, targets = asked(host, log, hidden[known])
        places = host.vocabulary.encode(hidden[known]) - FIRST_ITEM
        table = np.asarray(host.pretrainer.item_table)
        scores = users @ table.T
        print(
            f"{name}: {len(targets)} events, {len(places)} hidden of {len(table)} films; NDCG@10 "
            f"among hidden {among_hidden(scores, targets, places):.4f}, among all "
            f"{ndcg(scores, targets):.4f}"
        )
        popular = np.array([[counts[item] for item in host.vocabulary.items]], "float64")
        popular = np.repeat(popular, len(targets), axis=0)
        print(f"  popularity: among hidden {among_hidden(popular, targets, places):.4f}")
        if name == "columns":
            table = table.copy()
            table[places] = table[: -len(places)].mean(axis=0)
            print(
                f"  no columns: among hidden {among_hidden(users @ table.T, targets, places):.4f}"
            )


if __name__ == "__main__":
    main()

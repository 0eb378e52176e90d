"""Refresh against training anew, slice by slice of a log's time.

    python tests/benchmarks/refresh_slices.py --out runs/refresh-slices

The log is cut into slices of equally many events. The host of the first half is pretrained. Then,
after each further slice, hosts are made in these ways, and asked for the first event of every user
in the slice that follows, from all the user's events before it:

- anew: `pretrain` on all events until then;
- refresh: `refresh` of the host of the slice before, on all events until then;
- refresh, new events: the same on the events of the slice alone;
- keep: `refresh --keep-host-items`, on all events until then, which trains only new items;
- never: the first host.

The last tenth of the events of each training is for validation, see `--split time:`. The table has
NDCG@10 and seconds, those of the linear part's fitting included, of each slice.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_csv
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.events import Events
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.splits import find_periods
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.transfer.host import Host


def by_position(log):
    """The log with, as its time, how far along its user's events an event is: from 0 to 1."""
    share = (log.places + 0.5) / np.repeat(log.lengths, log.lengths)
    return Events.from_columns(log.user_ids[log.users], log.item_ids[log.items], share, log.name)


def quality(folder, log, split):
    """NDCG@10 of a host on the events asked for, and how many they are."""
    host = Host.load(folder)
    sequences = log.encode(host.vocabulary, split=find_periods(log, split).events(log))
    evaluation = NextItemEvaluation(sequences, host.max_length, TEST, host.keep_seen)
    return evaluation.measure(host.pretrainer)["ndcg@10"], len(evaluation)


def timed(make, *arguments, **settings):
    """The seconds of a run of its own: of training, fitting, measuring and writing."""
    began = time.perf_counter()
    make(*arguments, baselines=False, **settings)
    return time.perf_counter() - began


def run(log, slices, out, settings):
    """Rows of the table, one for each slice after the first half."""
    ends = np.quantile(log.timestamps, np.arange(1, slices + 1) / slices)
    first = slices // 2
    rows, hosts = [], {}
    for now in range(first - 1, slices - 1):
        until = log.select(log.timestamps <= ends[now + 1])
        split = f"time:{float(np.nextafter(ends[now], np.inf))!r}"
        folder = Path(out) / f"{now + 1:02d}"
        rates = {"epochs": settings["epochs"], "split": split}
        seconds = {"anew": timed(pretrain, until, folder / "anew", **settings, split=split)}
        if now == first - 1:
            hosts = dict.fromkeys(("refresh", "new events", "keep", "never"), folder / "anew")
        else:
            recent = until.select(until.timestamps > ends[now - 1])
            for name, events, more in (
                ("refresh", until, {}),
                ("new events", recent, {}),
                ("keep", until, {"keep_host_items": True}),
            ):
                try:
                    spent = timed(refresh, hosts[name], events, folder / name, **rates, **more)
                except InputError as error:  # a slice without new items
                    print(f"slice {now + 1}, {name}: {error}")
                    continue
                seconds[name], hosts[name] = spent, folder / name
        row = {"slice": now + 1, "events": int((log.timestamps <= ends[now]).sum())}
        for name, host in {"anew": folder / "anew", **hosts}.items():
            row[name], row["asked"] = quality(host, until, split)
        row |= {f"seconds {name}": round(spent, 1) for name, spent in seconds.items()}
        rows.append(row)
        print(row, flush=True)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write_csv(Path(out) / "slices.csv", columns, rows)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--log", default="movielens-100k/all")
    parser.add_argument("--by", choices=("time", "position"), default="time")
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--out", required=True)
    for name, value in (("hidden-dim", 64), ("blocks", 8), ("max-length", 100), ("epochs", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = vars(parser.parse_args())
    log = load_log(asked.pop("log"))
    log = by_position(log) if asked.pop("by") == "position" else log
    slices, out = asked.pop("slices"), asked.pop("out")
    Path(out).mkdir(parents=True, exist_ok=True)
    run(log, slices, out, asked)


if __name__ == "__main__":
    main()

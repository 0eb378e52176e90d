"""Trains eSASRec by RecTools, its authors' library, and writes the best items of each user.

`esasrec.py` starts it with the Python of an environment that has RecTools and not this package:

    python esasrec_worker.py sequences.npz answers.npz '{"n_factors": 64, ...}'

The last two events of each user are held out. After every epoch the last but one is asked for; the
weights with the best NDCG@10 there answer what comes last, from a history that has it.
"""

import copy
import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.ligr import LiGRLayers

MOST_EPOCHS, PATIENCE, K, PARTS = 200, 10, 10, 4


class EventsAlone(TransformerLightningModule):
    """RecTools' training with all items in the loss, without the work for padding.

    It pads each row to the longest history allowed and scores all items at each place: on shops
    where users have eight events, six sevenths of the work are for nothing. The loss and its
    gradient are the same: padding is masked, and positions are counted from the end.
    """

    def training_step(self, batch, batch_idx):
        lengths = (batch["x"] != 0).sum(dim=1)
        items = self.torch_model.item_model.get_all_embeddings()
        states, targets = [], []
        for rows in lengths.argsort().chunk(PARTS):  # each part as wide as its longest row
            width = int(lengths[rows].max())
            history, asked = batch["x"][rows, -width:], batch["y"][rows, -width:]
            found = self.torch_model.encode_sessions({"x": history}, items)
            states.append(found[asked != 0])
            targets.append(asked[asked != 0])
        logits = torch.cat(states) @ items.T / self.logits_t
        loss = torch.nn.functional.cross_entropy(logits, torch.cat(targets))
        self.log(self.train_loss_name, loss, on_step=False, on_epoch=True, prog_bar=False)
        return loss


def dataset_of(items, users, place):
    """The events at the places that are kept, as RecTools wants them."""
    events = {
        Columns.User: users,
        Columns.Item: items,
        Columns.Weight: 1.0,
        Columns.Datetime: place,
    }
    table = pd.DataFrame(events)
    table[Columns.Datetime] = pd.to_datetime(table[Columns.Datetime], unit="s")
    return Dataset.construct(table)


def best_items(model, dataset, users):
    """The best items of each user that the history does not have, int `[U, K]`; -1: none."""
    known = np.unique(users)
    found = model.recommend(
        known, dataset, k=K, filter_viewed=True, on_unsupported_targets="ignore"
    )
    best = np.full((int(known.max()) + 1, K), -1, "int64")
    best[found[Columns.User], found[Columns.Rank] - 1] = found[Columns.Item]
    return best


def ndcg(best, targets):
    ranks, places = np.nonzero(best == targets[:, None])
    return float((1 / np.log2(places + 2)).sum() / len(targets)) if len(ranks) else 0.0


def main():
    read, written, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    seed_everything(options.pop("seed"), workers=True)
    with np.load(read) as file:
        items, lengths = file["items"], file["lengths"]
    users = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)
    place = np.arange(len(items))
    from_end = ends[users] - place  # 1 is the last event
    training, longer = from_end > 2, from_end > 1
    before = dataset_of(items[training], users[training], place[training])
    until = dataset_of(items[longer], users[longer], place[longer])
    validation, test = items[ends - 2], items[ends - 1]
    model = SASRecModel(
        transformer_layers_type=LiGRLayers,
        lightning_module_type=EventsAlone,
        use_key_padding_mask=True,
        deterministic=True,
        verbose=0,
        **options,
    )
    best, waited, weights, began = -1.0, 0, None, time.perf_counter()
    for epoch in range(1, MOST_EPOCHS + 1):
        model.fit_partial(before, min_epochs=1, max_epochs=1)
        found = ndcg(best_items(model, before, users), validation)
        if found > best:
            best, waited, best_epoch = found, 0, epoch
            weights = copy.deepcopy(model.torch_model.state_dict())
        else:
            waited += 1
        seconds = time.perf_counter() - began
        print(f"epoch {epoch} ndcg@10 {found:.4f} {seconds:.0f} s", file=sys.stderr, flush=True)
        if waited == PATIENCE:
            break
    model.torch_model.load_state_dict(weights)
    answers = {
        "validation": best_items(model, before, users),
        "test": best_items(model, until, users),
    }
    told = {"epochs": epoch, "best_epoch": best_epoch, "seconds": time.perf_counter() - began}
    parameters = sum(weight.numel() for weight in model.torch_model.parameters())
    targets = {"validation_target": validation, "test_target": test}
    np.savez(written, **answers, **targets, **told, parameters=parameters)


if __name__ == "__main__":
    main()

"""HR, MRR and NDCG from the ranks of single relevant items."""

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.metrics.ranking_inputs import check_count


def ranking_metrics(ranks, ks=(5, 10, 20), prefix=""):
    """Means of HR@k, MRR@k and NDCG@k where each rank is of one relevant item.

    With the rank r of the only relevant item (the best possible DCG is 1):

        HR@k = [r <= k]    MRR@k = [r <= k] / r    NDCG@k = [r <= k] / log2(r + 1)

    Args:
        ranks: int array `[P]`, from 1, as `full_ranks` returns them.
        ks: cutoffs, positive integers. Defaults to `(5, 10, 20)`.
        prefix: string. Put before each key, `"sampled_"` for instance.
            Defaults to `""`.

    Returns:
        A dict of floats: `"hr@5"`, `"mrr@5"`, `"ndcg@5"`, `"hr@10"`, ...

    Raises:
        InputError: where `ranks` is empty or not integers from 1, where `ks` is
            empty, or where one of its cutoffs is not a positive integer.

    Example:

    >>> ranking_metrics([1, 3, 9], ks=[5])["hr@5"]
    0.6666666666666666

    Source: Yuan et al., "Parameter-Efficient Transfer from Sequential Behaviors
    for User Modeling and Recommendation", SIGIR 2020, section 4.
    """
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or ranks.size == 0 or ranks.dtype.kind not in "iu" or ranks.min() < 1:
        received = f"shape {ranks.shape} and dtype {ranks.dtype}"
        if ranks.size and ranks.dtype.kind in "iuf":
            received += f", smallest {ranks.min()}"
        raise InputError(
            "`ranks` should be a one-dimensional array of at least one positive "
            f"integer. Received: {received}."
        )
    ks = list(ks) if np.iterable(ks) else [ks]
    if not ks:
        raise InputError("`ks` should hold at least one cutoff. Received: `ks` = [].")
    metrics = {}
    for k in ks:
        check_count("k", k)
        hits = ranks <= k
        metrics[f"{prefix}hr@{k}"] = float(np.mean(hits))
        metrics[f"{prefix}mrr@{k}"] = float(np.mean(hits / ranks))
        metrics[f"{prefix}ndcg@{k}"] = float(np.mean(hits / np.log2(ranks + 1.0)))
    return metrics

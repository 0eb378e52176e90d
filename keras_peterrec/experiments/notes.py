"""The notes above an experiment's tables."""


def table_notes(plan, data, cells, left_out, seeds):
    """What a reader has to know besides the numbers.

    Args:
        plan: Plan.
        data: Dataset.
        cells: list of dict, as from `summarise`.
        left_out: list of dict; see `Runner`.
        seeds: int. How many were asked for.

    Returns:
        list of str: the data, the source, which cells have fewer seeds, and what was left out
        and why.
    """
    count = f"mean ± sample standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    notes = [f"{data.name} ({data.note}); test users; {count}.", f"Source: {plan.source}."]
    fewer = {(cell["row"], cell["task"]): cell["seeds"] for cell in cells if cell["seeds"] < seeds}
    if fewer:
        told = "; ".join(f"{row}, {task}: {found}" for (row, task), found in fewer.items())
        notes.append(f"Over fewer seeds: {told}.")
    together = {}
    for run in left_out:
        together.setdefault((run["row"], run["task"]), []).append(run)
    for (row, task), runs in together.items():
        of = ", ".join(str(run["seed"]) for run in runs)
        # The first reason stands for all: they differ only in sizes.
        notes.append(f"Left out: {row}, {task}, of seed {of}: {runs[0]['reason']}")
    return notes

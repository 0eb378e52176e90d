"""From finished runs to one page."""

from pathlib import Path

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_text
from keras_peterrec.files.json_file import refuse_misfits
from keras_peterrec.log.titles import read_titles
from keras_peterrec.report.gather import find_runs, gather
from keras_peterrec.report.page import page
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.finished_runs import ReportSettings
from keras_peterrec.types import Json


@takes(ReportSettings)
def report(settings: ReportSettings) -> Json:
    """Writes one self-contained HTML page about a finished run, or about all below a folder.

    It reads the folders alone: neither the data nor the model is needed.

    Returns:
        dict of `out`, the page, and `runs`, a list of what the page says of each; see `gather`.

    Raises:
        InputError: there is no finished run, a file of it is damaged, or the page cannot be
            written.
    """
    path = Path(settings.path)
    folders = find_runs(path)
    several = folders != [path]
    titles = read_titles(settings.titles) if settings.titles is not None else {}
    out = Path(settings.out) if settings.out is not None else path / "report.html"
    name = lambda run: str(run.relative_to(path)) if several else None
    with progress.stage(f"writing {out}", brief=True):
        each_run = progress.each(folders, "of the runs")
        runs = [gather(run, name(run), titles) for run in each_run]
        with refuse_misfits(path, "path"):
            text = page(runs)
    try:
        write_text(out, text)
    except OSError as error:
        raise InputError(
            f"`out` should be a file that can be written. Received: {str(out)!r}: {error.strerror}."
        ) from error
    return {"out": str(out), "runs": runs}


def show(result: dict) -> None:
    """Prints where the page is."""
    count = len(result["runs"])
    print(f"{result['out']}: {count} run{'s' if count > 1 else ''}")

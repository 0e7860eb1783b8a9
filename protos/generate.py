"""Generate the Python package of the contract; the only caller of protoc.

`generate.py` writes gen/; `generate.py --check` fails if gen/ is not what the sources make, lints
the contract with buf and refuses changes that break baseline.binpb, the contract as last released;
`generate.py --release` makes the present contract the baseline.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
GEN = HERE / "gen"
BASELINE = HERE / "baseline.binpb"
SITE_PACKAGES = Path(protoc.__file__).parent.parent
BIN = Path(sys.executable).parent


def _sources() -> list[str]:
    return sorted(str(p.relative_to(HERE)) for p in (HERE / "linnet").rglob("*.proto"))


def _protoc(*arguments: str) -> None:
    includes = [f"-I{HERE}", f"-I{HERE / 'third_party'}", f"-I{SITE_PACKAGES}"]
    includes.append(f"-I{SITE_PACKAGES / 'grpc_tools' / '_proto'}")
    if protoc.main(["protoc", *includes, *arguments]) != 0:
        raise SystemExit("protoc failed")


def _generate(out: Path) -> None:
    """Write stubs, typing stubs and Connect stubs of every source below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    plugins = [
        f"--plugin={name}={BIN / name}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc", "protoc-gen-connectrpc")
    ]
    _protoc(
        *plugins,
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
        "buf/validate/validate.proto",
        *_sources(),
    )
    services = [s for s in _sources() if s.endswith("_service.proto")]
    _protoc(*plugins, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services)
    public = [s for s in services if s.endswith("training_service.proto")]
    _protoc(*plugins, f"--connectrpc_out={out}", "--connectrpc_opt=protobuf=google", *public)
    for package in ("linnet", "linnet/v1", "buf", "buf/validate"):
        (out / package / "__init__.py").touch()
        (out / package / "py.typed").touch()


def _image(path: Path) -> None:
    _protoc(
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={path}",
        *_sources(),
    )


def _differences(left: Path, right: Path) -> list[str]:
    names = {p.relative_to(left) for p in left.rglob("*") if p.is_file()}
    names |= {p.relative_to(right) for p in right.rglob("*") if p.is_file()}
    return sorted(
        str(name)
        for name in names
        if "__pycache__" not in name.parts
        and not (
            (left / name).is_file()
            and (right / name).is_file()
            and filecmp.cmp(left / name, right / name, shallow=False)
        )
    )


def _buf(*arguments: str) -> int:
    return subprocess.run([BIN / "buf", *arguments], cwd=HERE, check=False).returncode


def _check() -> int:
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "gen"
        _generate(fresh)
        stale = _differences(fresh, GEN)
        if stale:
            print("generated code is stale, run `make generate`:", *stale, sep="\n  ")
            return 1
        image = Path(folder) / "image.binpb"
        _image(image)
        # Without --path buf lints Google's files too.
        failed = _buf("lint", str(image), "--path", "linnet")
        failed |= _buf("format", "--diff", "--exit-code", "--path", "linnet")
        if BASELINE.exists():
            failed |= _buf("breaking", str(image), "--against", str(BASELINE), "--path", "linnet")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--release", action="store_true")
    arguments = parser.parse_args()
    if arguments.check:
        return _check()
    if arguments.release:
        _image(BASELINE)
        return 0
    shutil.rmtree(GEN, ignore_errors=True)
    _generate(GEN)
    return 0


if __name__ == "__main__":
    sys.exit(main())

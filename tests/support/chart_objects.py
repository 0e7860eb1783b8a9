"""Objects that the chart makes, found by name, and the variables of its containers."""

from typing import Any

Manifest = dict[str, Any]


def named(objects: list[Manifest], kind: str, name: str) -> Manifest:
    """Find the object of a kind and name."""
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def environment_of(objects: list[Manifest], component: str) -> dict[str, str]:
    """Variables of the component's container; those from Secrets hold the Secret's name and key."""
    deployment = named(objects, "Deployment", f"linnet-{component}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found = {}
    for one in container["env"]:
        secret = one.get("valueFrom", {}).get("secretKeyRef", {})
        found[one["name"]] = one["value"] if "value" in one else "{name}/{key}".format(**secret)
    return found

"""Persistent volumes: folders of this machine behind a default storage class."""

from __future__ import annotations

from pathlib import Path

from .places import NODE_NAME

STORAGE_CLASS = "linnet-testbed"


def storage_class() -> dict[str, object]:
    """The default class; its volumes are made by hand and bound when a pod wants one."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def local_volume(folder: Path, capacity: str = "20Gi") -> dict[str, object]:
    """A volume on the existing folder `folder`, named after it.

    It is of the kind `local`, which hands the folder to the pod's fsGroup; `hostPath` would not.
    """
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": folder.name},
        "spec": {
            "capacity": {"storage": capacity},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(folder)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/hostname",
                                    "operator": "In",
                                    "values": [NODE_NAME],
                                }
                            ]
                        }
                    ]
                }
            },
        },
    }

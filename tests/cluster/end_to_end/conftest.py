"""One installation of the chart that the end-to-end tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from installation import installed
from product import Product, Release
from testbed.helm import Helm
from testbed.kubectl import Kubectl
from testbed.objectstore import ObjectStore

_RELEASE = Release("e2e", "linnet-e2e", "linnet-e2e-runs")


@pytest.fixture(scope="session")
def product(
    kubectl: Kubectl,
    helm_in: Callable[[str], Helm],
    chart_values: dict[str, Any],
    object_store: ObjectStore,
) -> Iterator[Product]:
    """Linnet, installed as a user does it."""
    helm = helm_in(_RELEASE.namespace)
    with installed(kubectl, helm, _RELEASE, object_store, chart_values) as product:
        product.push_dataset()
        yield product

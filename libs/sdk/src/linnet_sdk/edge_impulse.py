"""Settings of an Edge Impulse Keras block, as a spec to train."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linnet.v1 import spec_pb2
from linnet_ml import wire
from linnet_ml.edge_impulse import read_settings
from linnet_runtime.errors import InvalidInput


def import_settings(settings: Mapping[str, Any]) -> tuple[spec_pb2.TrainingSpec, tuple[str, ...]]:
    """Read a settings object, as Edge Impulse's API gives it.

    Returns:
        The spec, without a dataset and with defaults left out, and a sentence for each setting
        that has no counterpart.

    Raises:
        InvalidInput: A value has a wrong type, or a layer can't be told apart; names the field.
    """
    spec, notes = read_settings(settings)
    return wire.to_message(spec, spec_pb2.TrainingSpec), notes


def import_file(path: Path) -> tuple[spec_pb2.TrainingSpec, tuple[str, ...]]:
    """Read a JSON file of settings; see `import_settings`.

    Raises:
        InvalidInput: It can't be read, or is no JSON object.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput.of("settings", f"expected a JSON file, {path}: {error}") from error
    if not isinstance(settings, dict):
        raise InvalidInput.of("settings", f"expected a JSON object in {path}")
    return import_settings(settings)

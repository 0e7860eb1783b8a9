"""Real datasets out of installed packages: the extra `demo` brings them, nothing is downloaded."""

from importlib import import_module
from typing import TYPE_CHECKING

from linnet_runtime.errors import InvalidInput, NotAllowedInState

if TYPE_CHECKING:
    from linnet_sdk.datasets import Arrays

_PLACES = {
    "smartwatch-raw": ("linnet_sdk.examples.smartwatch", "raw_windows"),
    "smartwatch-spectral": ("linnet_sdk.examples.smartwatch", "spectral_features"),
    "digits": ("linnet_sdk.examples.digits", "images"),
    "wine": ("linnet_sdk.examples.wine", "columns"),
}
NAMES = tuple(_PLACES)


def load(name: str) -> "Arrays":
    """Make the dataset of that name.

    Raises:
        InvalidInput: There is none of that name.
        NotAllowedInState: The package that it comes from is not installed.
    """
    if name not in _PLACES:
        raise InvalidInput.of("example", f"expected one of {', '.join(NAMES)}, received {name!r}")
    module, function = _PLACES[name]
    try:
        made: Arrays = getattr(import_module(module), function)()
    except ModuleNotFoundError as error:
        raise NotAllowedInState(
            f"the example {name} needs the package {error.name}: pip install 'linnet[demo]'",
            reason="EXAMPLE_NOT_INSTALLED",
        ) from error
    return made

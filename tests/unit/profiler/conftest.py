"""Makes the fitting scripts and this folder's models importable: neither is a package."""

import sys
from pathlib import Path

_FIT = Path(__file__).parents[3] / "services" / "profiler" / "fit"
for _folder in (_FIT, Path(__file__).parent):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

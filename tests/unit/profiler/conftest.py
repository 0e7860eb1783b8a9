"""Makes the fitting scripts importable: they are scripts in a folder, not a package."""

import sys
from pathlib import Path

_FIT = Path(__file__).parents[3] / "services" / "profiler" / "fit"
if str(_FIT) not in sys.path:
    sys.path.insert(0, str(_FIT))

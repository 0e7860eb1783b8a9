"""What the service and the command line load."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["linnet_evaluator.__main__", "linnet_evaluator.cli"])
@pytest.mark.parametrize("heavy", ["sklearn", "scipy", "plotly", "pyarrow", "ai_edge_litert"])
def test_heavy_packages_stay_out_of_the_process(module, heavy):
    """Neither service nor command imports them: projections and models live in children."""
    code = f"import sys, {module}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

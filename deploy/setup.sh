#!/usr/bin/env bash
# Puts every workspace member and tool into .venv; installs uv with pip where it is missing.
set -euo pipefail
python=${1:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "setup: Python 3.11 is needed, found $("$python" --version 2>&1); set PYTHON=/path/to/python3.11" >&2
  exit 1
}
if command -v uv >/dev/null; then
  uv=(uv)
else
  tools=${XDG_CACHE_HOME:-$HOME/.cache}/linnet/uv
  [ -x "$tools/bin/uv" ] || { "$python" -m venv "$tools" && "$tools/bin/python" -m pip install -q uv; }
  uv=("$tools/bin/uv")
fi
exec "${uv[@]}" sync --quiet --frozen --all-groups --python "$python"

#!/bin/sh
# Puts a service into /app, in steps of which the last two become layers of its image:
#   install.sh lock PACKAGE                               what the next step depends on, into /lock
#   install.sh dependencies PACKAGE [UV SYNC OPTION...]   what it requires; large, moves only with its part of uv.lock
#   install.sh program PACKAGE [UV SYNC OPTION...]        the workspace's own code, into /program/app; small
# Times are clamped and bytecode holds no times, so the same content gives the same layer.
set -eu

step=$1
package=${2:-}
shift $(($# < 2 ? $# : 2))

export UV_PROJECT_ENVIRONMENT=/app UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
epoch=315532800 # 1980-01-01, the earliest that a zip file can hold
site=lib/python3.11/site-packages

compile() { # FOLDER PREFIX: bytecode of FOLDER, as it will be found once PREFIX is cut off
  # Some packages carry templates that are no valid Python; compileall names them and goes on.
  /app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$2" -p / "$1" || true
}

clamp() {
  find "$1" -exec touch --no-dereference --date="@$epoch" {} +
}

case $step in
lock)
  mkdir -p /lock
  # Requirements of other services, of linters and of tests move, and nothing here moves with them.
  python3 /usr/local/bin/narrow_lock.py "$package" <uv.lock >/lock/uv.lock
  awk '/^\[/ { kept = /^\[+tool\.uv/ } kept' pyproject.toml >/lock/pyproject.toml
  clamp /lock
  ;;
dependencies)
  uv sync --frozen --no-dev --no-install-workspace --no-compile-bytecode --package "$package" "$@"
  # Headers, a compiler front end and test suites: nothing at run time reads them.
  for path in tensorflow/include clang pyarrow/include pyarrow/src; do
    rm -rf "/app/$site/$path"
  done
  for owner in numpy scipy sklearn pyarrow; do
    [ ! -d "/app/$site/$owner" ] || find "/app/$site/$owner" -type d -name tests -prune -exec rm -rf {} +
  done
  rm -f /app/.lock /app/.gitignore /app/CACHEDIR.TAG
  compile /app/$site ""
  # Copied from here, and not from /app, the folder /app itself keeps its time as well.
  mkdir -p /dependencies
  cp -al /app /dependencies/app
  clamp /dependencies
  ;;
program)
  uv sync --frozen --no-dev --no-editable --no-compile-bytecode --package "$package" "$@"
  mkdir -p /program/usr/share/sbom
  (cd / && find app -newermt "@$((epoch + 1))" \( -type f -o -type l \) -print0 | tar --null -T - -cf -) |
    tar -C /program -xf -
  compile /program/app/$site /program
  uv export --frozen --no-dev --package "$package" "$@" --format cyclonedx1.5 --quiet \
    >"/program/usr/share/sbom/$package.cdx.json"
  clamp /program
  ;;
*)
  echo "install.sh: expected lock, dependencies or program, got $step" >&2
  exit 2
  ;;
esac

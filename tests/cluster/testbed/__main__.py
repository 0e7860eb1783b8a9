"""Command line of the testbed: `python -m testbed up|down|status|run|exec|env|build`."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence

from . import build, requirements
from .cluster import Cluster
from .faults import TestbedFault
from .network import OUTSIDE_VARIABLE
from .places import DEFAULT_NAME, Places

_EXIT_FAULT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.act(Cluster.of(options.name), options))
    except TestbedFault as fault:
        print(f"testbed: {fault}", file=sys.stderr)
        return _EXIT_FAULT


def _up(cluster: Cluster, options: argparse.Namespace) -> int:
    cluster.up(_tell)
    _tell(f"the node is Ready; try: {_invocation(options)} exec kubectl get nodes")
    return 0


def _down(cluster: Cluster, _: argparse.Namespace) -> int:
    cluster.down()
    return 0


def _status(cluster: Cluster, _: argparse.Namespace) -> int:
    ready = cluster.ready()
    running = len(cluster.processes.group.members())
    print(f"{cluster.places.name}: {'Ready' if ready else 'not ready'}, {running} processes")
    return 0 if ready else _EXIT_FAULT


def _exec(cluster: Cluster, options: argparse.Namespace) -> int:
    if not options.words:
        raise TestbedFault("exec: expected a command, got none")
    words = [*cluster.processes.entry(mounts=False), *options.words]
    return subprocess.run(words, env=_environment(cluster), check=False).returncode


def _run(cluster: Cluster, options: argparse.Namespace) -> int:
    was_ready = cluster.ready()
    cluster.up(_tell)
    try:
        return _exec(cluster, options)
    finally:
        if not was_ready:
            cluster.down()


def _env(cluster: Cluster, _: argparse.Namespace) -> int:
    for name, value in _environment(cluster).items():
        if name != OUTSIDE_VARIABLE and os.environ.get(name) != value:
            print(f"export {name}={shlex.quote(value)}")
    return 0


def _build(cluster: Cluster, _: argparse.Namespace) -> int:
    requirements.check()
    for program in build.PROGRAMS:
        _tell(f"building {program.name}, unless it was built before")
        print(build.executable(program, cluster.places.cache))
    return 0


def _environment(cluster: Cluster) -> dict[str, str]:
    path = os.pathsep.join([*map(str, cluster.program_folders()), os.environ.get("PATH", "")])
    return {
        **os.environ,
        "PATH": path,
        "KUBECONFIG": str(cluster.kubeconfig),
        "LINNET_TESTBED": cluster.places.name,
        OUTSIDE_VARIABLE: f"/proc/{os.getpid()}/ns/net",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed", description=__doc__)
    parser.add_argument("--name", default=DEFAULT_NAME, type=_name, help="tells testbeds apart")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster; done once it is Ready").set_defaults(act=_up)
    commands.add_parser("down", help="stop it, leaving nothing behind").set_defaults(act=_down)
    commands.add_parser("status", help="Ready or not (exit 1)").set_defaults(act=_status)
    commands.add_parser("env", help="print shell exports for its network").set_defaults(act=_env)
    commands.add_parser("build", help="build every program now").set_defaults(act=_build)
    execute = commands.add_parser("exec", help="run a command with kubectl and helm in its network")
    execute.set_defaults(act=_exec)
    execute.add_argument("words", nargs=argparse.REMAINDER)
    run = commands.add_parser("run", help="like exec; starts the cluster for it if there is none")
    run.set_defaults(act=_run)
    run.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _name(text: str) -> str:
    try:
        return Places.of(text).name
    except TestbedFault as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def _invocation(options: argparse.Namespace) -> str:
    named = "" if options.name == DEFAULT_NAME else f" --name {options.name}"
    return f"python -m testbed{named}"


def _tell(line: str) -> None:
    print(f"testbed: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

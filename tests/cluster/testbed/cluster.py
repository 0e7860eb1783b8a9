"""One life of the cluster: from nothing to a Ready node, and back to nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import build, controlplane, images, network, node, requirements, volumes
from .access import ApiReader
from .controlgroup import ControlGroup
from .controlplane import Credentials
from .faults import TestbedFault
from .places import DEFAULT_NAME, NODE_NAME, Places
from .processes import Processes

# Programs that a start needs; the others are built by the tests that use them.
START_PROGRAMS = (build.KUBERNETES, build.PAUSE, build.COREDNS, build.HELM)
_COMPONENT_TIMEOUT_S = 60.0
_VOLUMES = 12


@dataclass(frozen=True, slots=True)
class Cluster:
    """A testbed by its name, whether it runs or not."""

    places: Places
    processes: Processes

    @classmethod
    def of(cls, name: str = DEFAULT_NAME) -> Cluster:
        """The testbed `name`."""
        places = Places.of(name)
        return cls(places, Processes(ControlGroup.of(places.control_group), places.logs))

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator, for use inside the testbed's network."""
        return self.places.admin_kubeconfig

    def ready(self) -> bool:
        """Whether it runs and its node is Ready."""
        holder = self.processes.holder()
        if holder is None or not self.kubeconfig.exists():
            return False
        with network.entered(holder):
            return self._reader().node_ready(NODE_NAME)

    def up(self, tell: Callable[[str], None]) -> None:
        """Start it and return when its node is Ready; one that is Ready already is left as it is.

        What an earlier life left behind, however it ended, is cleared away first.

        Args:
            tell: Called with a line for a person before each step that may take long.

        Raises:
            Unsupported: This machine can't run a testbed.
            TestbedFault: A part did not start.
        """
        requirements.check()
        for program in START_PROGRAMS:
            tell(f"building {program.name}, unless it was built before")
            build.folder(program, self.places.cache)
        with build.locked(self.places.lock):
            if self.ready():
                self._renew_volumes()
                return
            self._clear()
            tell("starting Kubernetes")
            try:
                self._start()
            except BaseException:
                self._clear(keep_logs=True)
                raise

    def down(self) -> None:
        """Stop it and remove every process, mount, namespace, control group and file of it.

        Builds and imported images stay in the cache folder.
        """
        with build.locked(self.places.lock):
            self._clear()

    def kubectl(self) -> list[str | Path]:
        """Command prefix: kubectl as the administrator."""
        return [self._folder(build.KUBERNETES) / "kubectl", f"--kubeconfig={self.kubeconfig}"]

    def apply(self, manifests: Sequence[object]) -> None:
        """Create or update objects as the administrator.

        Raises:
            TestbedFault: The API server refused one.
        """
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.processes.run(
            [*self.kubectl(), "apply", "--server-side", "--filename=-"],
            stdin=json.dumps(listed),
        )

    def delete(self, kind: str, names: Sequence[str]) -> None:
        """Delete objects of `kind`, without waiting for them to be gone."""
        self.processes.run(
            [*self.kubectl(), "delete", kind, "--wait=false", "--ignore-not-found", *names]
        )

    def await_node(self, name: str, keeper: str, timeout_s: float) -> None:
        """Wait until the node is Ready.

        Args:
            name: Of the node.
            keeper: The process that reports for it.
            timeout_s: How long to wait.

        Raises:
            TestbedFault: It is not, or its keeper ended.
        """
        reader = self._reader()
        self._await(keeper, lambda: reader.node_ready(name), timeout_s)

    def holder(self) -> int:
        """Number of the process whose namespaces are the testbed's.

        Raises:
            TestbedFault: The testbed is not running.
        """
        holder = self.processes.holder()
        if holder is None:
            raise TestbedFault(f"the testbed {self.places.name} is not running")
        return holder

    def import_image(self, archive: Path) -> None:
        """Make the image of a docker archive known to the node."""
        images.import_archive(self.processes, self.places, archive)

    def tag_image(self, name: str, other: str) -> None:
        """Give an image that the node has another name."""
        images.tag(self.processes, self.places, name, other)

    def image_names(self) -> set[str]:
        """Names of the images that the node has."""
        return images.present(self.processes, self.places)

    def program_folders(self) -> list[Path]:
        """Folders with kubectl and helm, for a PATH."""
        return [self._folder(program) for program in (build.KUBERNETES, build.HELM)]

    def _start(self) -> None:
        places, processes = self.places, self.processes
        places.state.mkdir(parents=True)
        processes.hold_namespaces()
        network.configure(processes)
        credentials = controlplane.issue(places, dt.datetime.now(dt.UTC))
        programs = self._folder(build.KUBERNETES)
        controlplane.start_store(processes, programs, places)
        controlplane.start_api_server(processes, programs, credentials)
        node.start_container_runtime(processes, places)
        self._import_pause()
        reader = self._reader()
        self._await(controlplane.API_SERVER, reader.ready, _COMPONENT_TIMEOUT_S)
        controlplane.start_controllers(processes, programs, places, credentials)
        node.start_kubelet(processes, programs, places, credentials)
        node.start_proxy(processes, programs, places, credentials)
        coredns = build.executable(build.COREDNS, places.cache)
        node.start_name_service(processes, coredns, places, credentials)
        self.apply([*controlplane.grants(), volumes.storage_class(), *self._new_volumes(_VOLUMES)])
        self.await_node(NODE_NAME, node.KUBELET, _COMPONENT_TIMEOUT_S)

    def _import_pause(self) -> None:
        archive = self.places.state / "pause.tar"
        program = build.executable(build.PAUSE, self.places.cache)
        images.write_single_program_archive(archive, program, node.PAUSE_IMAGE)
        self.processes.await_ready(
            node.CONTAINERD, self.places.containerd_socket.exists, _COMPONENT_TIMEOUT_S
        )
        images.import_archive(self.processes, self.places, archive)

    def _new_volumes(self, count: int) -> list[dict[str, object]]:
        made = []
        for _ in range(count):
            folder = self.places.volumes / f"volume-{secrets.token_hex(4)}"
            folder.mkdir(parents=True)
            made.append(volumes.local_volume(folder))
        return made

    def _renew_volumes(self) -> None:
        """Put an empty volume in the place of each one whose claim is gone."""
        listed = json.loads(self.processes.run([*self.kubectl(), "get", "pv", "--output=json"]))
        released = [
            str(one["metadata"]["name"])
            for one in listed["items"]
            if one["status"].get("phase") == "Released"
        ]
        if released:
            self.delete("pv", released)
            self.apply(self._new_volumes(len(released)))

    def _await(self, name: str, condition: Callable[[], bool], timeout_s: float) -> None:
        with network.entered(self.holder()):
            self.processes.await_ready(name, condition, timeout_s)

    def _clear(self, *, keep_logs: bool = False) -> None:
        group = self.processes.group
        group.kill()
        if self.places.state.exists() and self.places.containerd_root.exists():
            node.forget_containers(self.processes, self.places)
            group.kill()
        self.processes.forget_namespaces()
        if keep_logs and self.places.logs.exists():
            for entry in self.places.state.iterdir():
                if entry != self.places.logs:
                    _delete(entry)
        elif self.places.state.exists():
            _delete(self.places.state)
        with contextlib.suppress(OSError):
            # Not empty: another testbed is there.
            self.places.state.parent.rmdir()

    def _reader(self) -> ApiReader:
        credentials = Credentials(self.places.state / "credentials")
        return ApiReader.of(
            credentials.certificate("authority"),
            credentials.certificate("admin"),
            credentials.key("admin"),
        )

    def _folder(self, program: build.GoProgram) -> Path:
        return build.folder(program, self.places.cache)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()

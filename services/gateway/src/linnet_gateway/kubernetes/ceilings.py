"""The ceilings of projects, which no Job may exceed, in the words of specs."""

from datetime import timedelta

from linnet_gateway.kubernetes.manifests import without_sandbox
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.specs.ceilings import Ceiling


class KubernetesCeilings:
    """Read from the settings that Jobs are made by."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings

    def ceiling(self, project: str) -> Ceiling:
        """Give what one run of that project may ask for."""
        known = self._settings.ceiling_of(project)
        return Ceiling(
            cpu_millis=known.cpu_millis,
            memory_bytes=known.memory_bytes,
            deadline=timedelta(seconds=known.deadline_s),
        )

    @property
    def without_sandbox(self) -> str:
        """Say what lacks for scripts and who can mend it; empty where they are launched."""
        return without_sandbox(self._settings)

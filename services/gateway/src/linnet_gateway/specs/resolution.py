"""From the spec that a caller sends to the one that a run stores: checked against its data."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta
from math import prod

from linnet.v1 import spec_pb2
from linnet_ml import wire
from linnet_ml.defaults import layers_of
from linnet_ml.layers import LayerShape, infer
from linnet_ml.render_script import render
from linnet_ml.spec import InputKind, LayerList, SplitSpec, TrainingSpec
from linnet_runtime.errors import InvalidInput, NotFound, Violation
from linnet_runtime.ids import parse_name

from linnet_gateway.datasets.files import DatasetFiles
from linnet_gateway.ports import Datasets, Runs
from linnet_gateway.records import DatasetRecord
from linnet_gateway.specs.ceilings import EXPERT_SANDBOX_MISSING, Ceiling, Ceilings
from linnet_gateway.specs.structures import Structures
from linnet_gateway.states import DatasetState, RunState
from linnet_gateway.targets import Targets

_REMEMBERED_SPLITS = 256
_REMEMBERED_DATASETS = 256
_DATASET_LIFE_S = 1.0
"""A ready dataset does not change, it can only be deleted: checks may be that late."""
_MODEL_FILE = "model.keras"
_COPIES = 3
"""Features as float32 that a trainer holds at once, as measured: rows, scaled rows, tensors."""


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a run may ask for; zero in a spec takes the default, or the ceiling if that is less.

    Attributes:
        default_cpu_millis: Thousandths of a core.
        max_cpu_millis: Lowers the launcher's ceiling of it; None does not.
        default_memory_bytes: Memory of a trainer.
        max_memory_bytes: Lowers the ceiling of it.
        max_deadline: Lowers the longest wall time, which is also the default.
        base_memory_bytes: What a trainer needs before it has read any data.
        expert_allowed: Whether scripts may be run.
    """

    default_cpu_millis: int = 1000
    max_cpu_millis: int | None = None
    default_memory_bytes: int = 2 * 1024**3
    max_memory_bytes: int | None = None
    max_deadline: timedelta | None = None
    base_memory_bytes: int = 768 * 1024**2
    expert_allowed: bool = True

    def under(self, ceiling: Ceiling) -> Ceiling:
        """Give what a run may ask for where the launcher has that ceiling."""
        return ceiling.lowered(self.max_cpu_millis, self.max_memory_bytes, self.max_deadline)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A spec that a run can be made of."""

    spec: TrainingSpec
    message: spec_pb2.TrainingSpec
    dataset: DatasetRecord
    expert: bool
    warnings: tuple[str, ...] = ()

    def network(self) -> LayerList | None:
        """Give the layers, disabled ones among them; None for a script."""
        listed = self.spec.architecture.layers
        if listed is not None:
            return listed
        kind = InputKind(self.dataset.input_kind)
        return layers_of(self.spec.architecture, kind, self.dataset.facts.input_shape)

    def script(self) -> str:
        """Give the expert script that does what the spec's network does."""
        layers = self.network()
        if layers is None:
            return self.spec.architecture.script or ""
        return render(layers, self.dataset.facts.input_shape, len(self.dataset.classes))

    def shapes(self) -> tuple[LayerShape, ...] | None:
        """Give what each layer and the implied output make; None for a script."""
        layers = self.network()
        if layers is None:
            return None
        return infer(layers, self.dataset.facts.input_shape, len(self.dataset.classes))


class SpecResolution:
    """Resolves specs of a project."""

    def __init__(
        self,
        datasets: Datasets,
        runs: Runs,
        targets: Targets,
        files: DatasetFiles,
        limits: ResourceLimits,
        *,
        ceilings: Ceilings,
    ) -> None:
        self._datasets = datasets
        self._runs = runs
        self._targets = targets
        self._files = files
        self._limits = limits
        self._ceilings = ceilings
        self._structures = Structures()
        self._ready: OrderedDict[tuple[str, str], tuple[float, DatasetRecord]] = OrderedDict()
        self._splits: OrderedDict[tuple[str, SplitSpec], None] = OrderedDict()

    async def resolve(self, project: str, message: spec_pb2.TrainingSpec, path: str) -> Resolved:
        """Fill every default in and check everything that can be known before training.

        Args:
            project: Id of the project that dataset and earlier runs must belong to.
            message: The spec as it came.
            path: Where it stands in the request, for errors.

        Raises:
            InvalidInput: Names each wrong field below `path`.
            Unavailable: Store or profiler are needed and can't be reached.
        """
        try:
            return await self._resolve(project, message)
        except InvalidInput as error:
            violations = [Violation(_below(path, v.field), v.description) for v in error.violations]
            raise InvalidInput(violations, reason=error.reason, metadata=error.metadata) from None

    async def _resolve(self, project: str, message: spec_pb2.TrainingSpec) -> Resolved:
        dataset = await self._dataset(project, message.dataset)
        spec, template = self._structures.resolve(message, dataset)
        await self._targets.get(spec.target, "target")
        if message.init_from:
            await self._check_init(project, message.init_from)
        expert = spec.architecture.script is not None
        if expert:
            self._check_script()
        spec = self._with_resources(spec, dataset)
        await self._check_split(spec, dataset)
        resolved = spec_pb2.TrainingSpec()
        resolved.CopyFrom(template)
        if message.architecture.HasField("layers"):
            resolved.architecture.CopyFrom(message.architecture)
        resolved.dataset = message.dataset
        resolved.init_from = message.init_from
        resolved.fit.seed = spec.fit.seed
        resolved.fit.learning_rate = spec.fit.learning_rate
        wire.fill(resolved.resources, spec.resources)
        return Resolved(spec, resolved, dataset, expert)

    async def _dataset(self, project: str, name: str) -> DatasetRecord:
        parsed = parse_name(name, "datasets", field="dataset")
        if parsed.project != project:
            raise InvalidInput.of("dataset", f"expected one of project {project!r}")
        known = self._ready.get((project, parsed.id))
        if known is not None and time.monotonic() - known[0] < _DATASET_LIFE_S:
            return known[1]
        try:
            dataset = await self._datasets.get(project, parsed.id)
        except NotFound:
            raise InvalidInput.of(
                "dataset", f"expected a dataset that exists, received {name!r}", reason="NO_DATASET"
            ) from None
        if dataset.state is not DatasetState.READY:
            raise InvalidInput.of(
                "dataset",
                f"expected a dataset that is finalized, {name!r} is {dataset.state.name}",
                reason="DATASET_NOT_READY",
            )
        self._ready[project, parsed.id] = (time.monotonic(), dataset)
        if len(self._ready) > _REMEMBERED_DATASETS:
            self._ready.popitem(last=False)
        return dataset

    async def _check_init(self, project: str, name: str) -> None:
        parsed = parse_name(name, "runs", field="init_from")
        try:
            run = await self._runs.get(project, parsed.id)
        except NotFound:
            run = None
        if run is None or parsed.project != project or run.state is not RunState.SUCCEEDED:
            raise InvalidInput.of(
                "init_from",
                f"expected a run of project {project!r} that has succeeded, received {name!r}",
                reason="NO_INITIAL_MODEL",
            )
        if run.artifacts_delete_time is not None:
            raise InvalidInput.of(
                "init_from",
                f"expected a run whose model is kept, that of {name!r} was deleted at "
                f"{run.artifacts_delete_time.isoformat()}",
                reason="ARTIFACTS_EXPIRED",
            )
        if all(file.name != _MODEL_FILE for file in run.artifacts):
            raise InvalidInput.of("init_from", f"expected a run with {_MODEL_FILE}")

    def _check_script(self) -> None:
        why, reason = self._ceilings.without_sandbox, EXPERT_SANDBOX_MISSING
        if not why and not self._limits.expert_allowed:
            why, reason = "this gateway runs none", "EXPERT_NOT_ALLOWED"
        if why:
            description = f"expected no script: {why}"
            raise InvalidInput.of("architecture.script", description, reason=reason)

    def _with_resources(self, spec: TrainingSpec, dataset: DatasetRecord) -> TrainingSpec:
        limits, asked = self._limits, spec.resources
        most = limits.under(self._ceilings.ceiling(dataset.project))
        cpu_millis = asked.cpu_millis or min(limits.default_cpu_millis, most.cpu_millis)
        memory_bytes = asked.memory_bytes or min(limits.default_memory_bytes, most.memory_bytes)
        deadline = asked.deadline or most.deadline
        asked_for = Ceiling(cpu_millis, memory_bytes, deadline)
        violations = [
            Violation(
                f"resources.{field}",
                f"expected at most {getattr(most, field)} in project {dataset.project!r}, "
                f"received {getattr(asked_for, field)}",
            )
            for field in most.exceeded_by(asked_for)
        ]
        needed = limits.base_memory_bytes + _COPIES * _float_bytes(dataset)
        if not violations and memory_bytes < needed:
            violations.append(
                Violation(
                    "resources.memory_bytes",
                    f"expected at least {needed} for a dataset of {_float_bytes(dataset)} bytes "
                    f"as float32, received {memory_bytes}",
                )
            )
        if violations:
            raise InvalidInput(violations, reason="RESOURCES_REFUSED")
        resources = replace(
            asked, cpu_millis=cpu_millis, memory_bytes=memory_bytes, deadline=deadline
        )
        return replace(spec, resources=resources)

    async def _check_split(self, spec: TrainingSpec, dataset: DatasetRecord) -> None:
        # A share leaves as many rows on each side whatever the seed: one check serves them all.
        key = (dataset.uid, spec.split)
        if key in self._splits:
            self._splits.move_to_end(key)
            return
        await asyncio.to_thread(self._try_split, spec, dataset)
        self._splits[key] = None
        if len(self._splits) > _REMEMBERED_SPLITS:
            self._splits.popitem(last=False)

    def _try_split(self, spec: TrainingSpec, dataset: DatasetRecord) -> None:
        from linnet_ml.splits import make_split

        rows = self._files.row_info(dataset)
        if rows is not None:
            make_split(spec.split, rows, class_count=len(dataset.classes), seed=spec.fit.seed)


def _float_bytes(dataset: DatasetRecord) -> int:
    """Give the size of the features as trainers compute with them, however they are stored."""
    return 4 * prod(dataset.facts.input_shape) * dataset.facts.sample_count


def _below(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field

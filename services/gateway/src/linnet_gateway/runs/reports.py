"""What came of a run: report, evaluation, profiles, artifacts."""

import asyncio
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from linnet.v1 import (
    dataset_pb2,
    evaluation_pb2,
    profile_pb2,
    profiler_service_pb2,
    spec_pb2,
    training_service_pb2,
)
from linnet_runtime.errors import LinnetError, NotAllowedInState, NotFound
from linnet_runtime.ids import ResourceName
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.addresses import Addresses
from linnet_gateway.converters import merged_epochs, run_message
from linnet_gateway.ports import Runs, Trainings
from linnet_gateway.reconciling.analysis_clients import ProfilerClient, models_of
from linnet_gateway.records import RunRecord
from linnet_gateway.runs.kept import check_artifacts_kept
from linnet_gateway.states import StageKind, StageState
from linnet_gateway.targets import Targets

_PROFILE_TIMEOUT_S = 60.0
M = TypeVar("M", bound=Message)


class Reports:
    """The use cases of results."""

    def __init__(
        self,
        *,
        runs: Runs,
        trainings: Trainings,
        store: ObjectStore,
        profiler: ProfilerClient,
        targets: Targets,
        addresses: Addresses,
    ) -> None:
        self._runs = runs
        self._trainings = trainings
        self._store = store
        self._profiler = profiler
        self._targets = targets
        self._addresses = addresses

    async def report(self, name: ResourceName) -> training_service_pb2.Report:
        """Give everything that is known of a run; what has not ended or failed is left out."""
        run = await self._runs.get(name.project, name.id)
        message = training_service_pb2.Report(run=run_message(run))
        message.epochs.extend(merged_epochs(await self._trainings.epochs(run.uid, (0, 0))))
        evaluation = await self._document(
            run, StageKind.EVALUATE, "evaluation.json", evaluation_pb2.Evaluation()
        )
        if evaluation is not None:
            message.evaluation.CopyFrom(evaluation)
        profiled = await self._document(
            run, StageKind.PROFILE, "profile.json", profiler_service_pb2.ProfileResponse()
        )
        if profiled is not None:
            message.profiles.extend(profiled.profiles)
        target = await self._target(run)
        if target is not None:
            message.target.CopyFrom(target)
        return message

    async def _document(self, run: RunRecord, stage: StageKind, name: str, empty: M) -> M | None:
        if run.stage(stage).state is not StageState.SUCCEEDED:
            return None
        file = next((f for f in run.artifacts if f.name == name), None)
        if file is None:
            return None
        text = await asyncio.to_thread(self._store.get, file.key)
        return json_format.Parse(text, empty, ignore_unknown_fields=True)

    async def _target(self, run: RunRecord) -> profile_pb2.Target | None:
        try:
            return await self._targets.get(run.target, "target")
        except LinnetError:
            return None

    async def evaluation(self, name: ResourceName) -> evaluation_pb2.Evaluation:
        """Read the evaluation of a run.

        Raises:
            NotAllowedInState: It has not ended, or failed.
        """
        run = await self._runs.get(name.project, name.id)
        check_artifacts_kept(run)
        found = await self._document(
            run, StageKind.EVALUATE, "evaluation.json", evaluation_pb2.Evaluation()
        )
        if found is None:
            state = run.stage(StageKind.EVALUATE).state
            raise NotAllowedInState(
                f"the evaluation of {run.name} is {state.name}",
                reason="NOT_EVALUATED",
                metadata={"run": run.name, "stage_state": state.name},
            )
        return found

    async def profile(
        self, name: ResourceName, request: training_service_pb2.GetProfileRequest
    ) -> training_service_pb2.GetProfileResponse:
        """Profile every variant of a run for any targets.

        Raises:
            NotAllowedInState: It has no models yet.
            InvalidInput: A target is not known, or a custom one makes no sense.
        """
        run = await self._runs.get(name.project, name.id)
        check_artifacts_kept(run)
        models = models_of(run)
        if not models:
            raise NotAllowedInState(
                f"{run.name} is {run.state.name} and has no models", reason="NO_MODELS"
            )
        for index, target in enumerate(request.targets):
            await self._targets.get(target, f"targets[{index}]")
        asked = profiler_service_pb2.ProfileRequest(
            run=run.name,
            models=models,
            targets=request.targets,
            kernels=request.kernels,
            clock_hz=request.clock_hz,
            budgets=spec_pb2.TrainingSpec.FromString(run.spec).budgets,
            custom_targets=request.custom_targets,
            check_interpreter=request.check_interpreter,
        )
        answer = await self._profiler.ask(asked, _PROFILE_TIMEOUT_S)
        return training_service_pb2.GetProfileResponse(
            profiles=answer.profiles,
            smallest_target=answer.smallest_target,
            checks=answer.checks,
        )

    async def artifact(self, name: ResourceName, artifact: str) -> dataset_pb2.PresignedRequest:
        """Give an address to read an artifact from.

        Raises:
            NotFound: The run has no such artifact.
            NotAllowedInState: Retention took it (ARTIFACTS_EXPIRED).
        """
        run = await self._runs.get(name.project, name.id)
        check_artifacts_kept(run)
        file = next((f for f in run.artifacts if f.name == artifact), None)
        if file is None:
            raise NotFound("artifact", f"{run.name}/{artifact}")
        return self._addresses.download(file)

"""What the evaluator makes of stored scores: thresholds, the feature explorer, comparisons."""

from linnet.v1 import evaluation_pb2, evaluator_service_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import InvalidInput, NotAllowedInState
from linnet_runtime.ids import ResourceName, parse_name

from linnet_gateway.converters import file_message
from linnet_gateway.datasets.of_run import dataset_of
from linnet_gateway.ports import Datasets, Runs
from linnet_gateway.reconciling.analysis_clients import EvaluatorClient
from linnet_gateway.records import FileRecord, RunRecord
from linnet_gateway.runs.kept import check_artifacts_kept

SCORES = "scores.npz"
_PAGE, _MAX_PAGE = 20_000, 50_000
_TIMEOUT_S = 120.0


class Insights:
    """The use cases of stored scores."""

    def __init__(self, runs: Runs, datasets: Datasets, evaluator: EvaluatorClient) -> None:
        self._runs = runs
        self._datasets = datasets
        self._evaluator = evaluator

    async def thresholds(
        self, name: ResourceName, request: pb.GetThresholdsRequest
    ) -> evaluation_pb2.ThresholdOutcome:
        """Apply thresholds; raises `NotAllowedInState` before the run is evaluated."""
        run = await self._runs.get(name.project, name.id)
        asked = evaluator_service_pb2.ApplyThresholdsRequest(
            scores=file_message(_scores(run)),
            variant=request.variant,
            side=request.side,
            thresholds=request.thresholds,
        )
        return (await self._evaluator.apply_thresholds(asked, _TIMEOUT_S)).outcome

    async def explorer(
        self, name: ResourceName, request: pb.GetExplorerRequest
    ) -> pb.GetExplorerResponse:
        """Read a page of the explorer; raises `NotAllowedInState` before the run has models."""
        run = await self._runs.get(name.project, name.id)
        check_artifacts_kept(run)
        if not run.artifacts:
            raise NotAllowedInState(
                f"{run.name} is {run.state.name} and has no models", reason="NO_MODELS"
            )
        dataset = await dataset_of(run, self._datasets, self._runs)
        answer = await self._evaluator.explore(
            evaluator_service_pb2.ExploreRequest(
                run=run.name,
                run_files=[file_message(file) for file in run.artifacts],
                dataset_files=[file_message(file) for file in dataset.files],
                classes=dataset.classes,
                dataset_digest=dataset.digest,
                cache_prefix=f"{run.prefix}/explorer",
                source=request.source,
                method=request.method,
                variant=request.variant,
                page_size=min(request.page_size or _PAGE, _MAX_PAGE),
                page_token=request.page_token,
            ),
            _TIMEOUT_S,
        )
        return pb.GetExplorerResponse(
            explorer=answer.explorer, next_page_token=answer.next_page_token
        )

    async def compare(
        self, name: ResourceName, request: pb.CompareRunsRequest
    ) -> evaluator_service_pb2.CompareScoresResponse:
        """Compare two runs of a project on the rows that both scored."""
        other = parse_name(request.other, "runs", field="other")
        if other.project != name.project:
            raise InvalidInput.of("other", f"expected a run of project {name.project!r}")
        first = await self._runs.get(name.project, name.id)
        second = await self._runs.get(other.project, other.id)
        asked = evaluator_service_pb2.CompareScoresRequest(
            first=file_message(_scores(first)),
            second=file_message(_scores(second)),
            first_variant=request.variant,
            second_variant=request.other_variant,
            side=request.side,
        )
        return await self._evaluator.compare_scores(asked, _TIMEOUT_S)


def _scores(run: RunRecord) -> FileRecord:
    check_artifacts_kept(run)
    found = next((file for file in run.artifacts if file.name == SCORES), None)
    if found is None:
        raise NotAllowedInState(
            f"{run.name} is {run.state.name} and has no scores",
            reason="NOT_EVALUATED",
            metadata={"run": run.name},
        )
    return found

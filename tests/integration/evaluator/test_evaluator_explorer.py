"""The feature explorer through the real service and store."""

import grpc
import numpy as np
import pytest
from linnet.v1 import evaluation_pb2
from linnet.v1 import evaluator_service_pb2 as pb
from linnet_runtime.errors import InvalidInput
from linnet_runtime.rpc.status import from_rpc_error

from tests.support.evaluated_run import MODELS, ROWS
from tests.support.evaluator_process import evaluator, npy_bytes, npz_bytes, push, stub_of

PCA = evaluation_pb2.PROJECTION_METHOD_PCA
PREFIX = "projects/p/explorer"


@pytest.fixture(scope="module")
def make_request(store, table):
    features, labels = table
    dataset = push(
        store,
        "projects/p/datasets/explored",
        {
            "features.npy": npy_bytes(features),
            "labels.npy": npy_bytes(labels),
            "samples.npz": npz_bytes(sample_id=np.array([f"row-{i}" for i in range(ROWS)])),
        },
    )
    rows = np.arange(ROWS)
    run = push(
        store,
        "projects/p/runs/explored",
        {
            "model.int8.tflite": (MODELS / "dense.int8.tflite").read_bytes(),
            "split.npz": npz_bytes(training=rows[200:], validation=rows[:100], test=rows[100:199]),
        },
    )

    def make(**more) -> pb.ExploreRequest:
        return pb.ExploreRequest(
            run="projects/p/runs/explored",
            run_files=run.files,
            dataset_files=dataset.files,
            classes=[f"c{i}" for i in range(7)],
            dataset_digest=dataset.digest,
            **{"cache_prefix": PREFIX, **more},
        )

    return make


def _same_side_share(points: evaluation_pb2.ExplorerPoints) -> float:
    """Share of points whose nearest neighbour in the picture has their label."""
    xy = np.column_stack([points.x, points.y])
    label = np.array(points.label)
    gaps = ((xy[:, None] - xy[None]) ** 2).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    return float(np.mean(label[gaps.argmin(axis=1)] == label))


def test_pca_gives_every_row_with_what_is_known_of_it(stub, make_request, table):
    """Each row of the split is a point with label, prediction, side and id; variance is told."""
    found = stub.Explore(make_request(method=PCA)).explorer
    points = found.points
    assert found.point_count == found.row_count == 599
    assert list(points.label) == table[1][list(points.row)].tolist()
    assert list(points.side[:3]) == [2, 2, 2]
    assert points.sample_id[0] == "row-0"
    assert np.mean(np.array(points.prediction) == np.array(points.label)) > 0.6
    features = table[0][list(points.row)]
    values = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    assert list(found.explained_variance) == pytest.approx(values[:2] / values.sum(), rel=1e-3)


def test_umap_is_the_default_and_keeps_neighbours(stub, make_request):
    """Points of one class lie together far more often than chance, in input and embedding."""
    inputs = stub.Explore(make_request()).explorer
    assert inputs.method == evaluation_pb2.PROJECTION_METHOD_UMAP
    assert inputs.source == evaluation_pb2.FEATURE_SOURCE_INPUT
    assert _same_side_share(inputs.points) > 0.4
    embedding = stub.Explore(make_request(source=evaluation_pb2.FEATURE_SOURCE_EMBEDDING)).explorer
    assert _same_side_share(embedding.points) > 0.6


def test_tsne_on_request(stub, make_request):
    """t-SNE gives as many points."""
    found = stub.Explore(
        make_request(method=evaluation_pb2.PROJECTION_METHOD_TSNE), timeout=100
    ).explorer
    assert len(found.points.x) == 599
    assert _same_side_share(found.points) > 0.4


def test_pages_join_to_the_whole(stub, make_request):
    """Pages follow each other without gap or repeat; a foreign token is refused."""
    rows, token, pages = [], "", 0
    while pages == 0 or token:
        page = stub.Explore(make_request(method=PCA, page_size=250, page_token=token))
        rows += page.explorer.points.row
        token, pages = page.next_page_token, pages + 1
    assert pages == 3
    assert len(rows) == len(set(rows)) == 599
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explore(make_request(page_token="00000000-250"))
    assert isinstance(from_rpc_error(caught.value), InvalidInput)


def test_a_second_process_answers_from_the_store(
    location, store, stub, make_request, tmp_path_factory
):
    """What was computed once is read from the store, bit for bit, by a process that has no time."""
    first = stub.Explore(make_request())
    assert len(list(store.list(PREFIX))) >= 2
    folder = tmp_path_factory.mktemp("second")
    with (
        evaluator(location, folder, projection_wall_s="0.001") as endpoints,
        stub_of(endpoints) as other,
    ):
        assert other.Explore(make_request()) == first

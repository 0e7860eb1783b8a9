"""The evaluator's speed goals; one JSON line a figure, medians, ratios measured side by side.

    python tests/bench/bench_evaluator.py [metrics] [requests] [projections]

The rival of the projection is umap-learn in a fresh process. It is no dependency of Linnet: it is
installed into a virtual environment of its own below the user's cache, on the first run.
"""

import contextlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 (the path comes first)
from linnet_runtime.s3 import S3Store  # noqa: E402

from tests.cluster.testbed.uvprogram import uv_program  # noqa: E402
from tests.conftest import running_seaweed  # noqa: E402
from tests.support.evaluator_process import (  # noqa: E402
    evaluator,
    npy_bytes,
    npz_bytes,
    push,
    request_of,
    stub_of,
)

MODELS = ROOT / "tests" / "data" / "evaluator"
RIVALS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "linnet-bench" / "umap"
CLASSES = [f"c{i}" for i in range(7)]


def figure(name: str, value: float, unit: str, goal: float, *, least: bool = False) -> None:
    """Print one figure; `least` means that the goal is a lower bound."""
    ok = bool(value >= goal if least else value <= goal)
    told = {"name": name, "value": round(float(value), 4), "unit": unit, "goal": goal, "ok": ok}
    print(json.dumps(told), flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def bare_loop(features: np.ndarray) -> float:
    """Time LiteRT alone over the rows, both variants, single rows, the same kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    total = 0.0
    for variant in ("float32", "int8"):
        interpreter = Interpreter(
            model_path=str(MODELS / f"conv2d.{variant}.tflite"),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        given = interpreter.get_input_details()[0]
        taken = interpreter.get_output_details()[0]["index"]
        rows = features
        if variant == "int8":
            scale, zero_point = given["quantization"]
            rows = np.clip(np.round(features / scale) + zero_point, -128, 127).astype(np.int8)
        begun = time.perf_counter()
        for row in rows:
            interpreter.set_tensor(given["index"], row[None])
            interpreter.invoke()
            interpreter.get_tensor(taken)
        total += time.perf_counter() - begun
    return total


@contextlib.contextmanager
def service() -> Iterator[tuple[S3Store, object]]:
    """Run a store and an evaluator."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_seaweed(Path(folder)) as location,
        tempfile.TemporaryDirectory() as home,
        evaluator(location, Path(home)) as endpoints,
        stub_of(endpoints) as stub,
    ):
        store = S3Store(location)
        store.create_bucket()
        yield store, stub


def _dataset(store: S3Store, name: str, rows: int, columns: int):
    random = np.random.default_rng(0)
    features = random.normal(size=(rows, columns)).astype(np.float32)
    labels = random.integers(0, 7, rows)
    data = push(
        store, f"d/{name}", {"features.npy": npy_bytes(features), "labels.npy": npy_bytes(labels)}
    )
    return features, data


def _run(store: S3Store, name: str, model: str, rows: int, salt: int):
    """Push a run whose manifest differs each time, so that no answer is in memory."""
    places = np.arange(rows)
    third = rows // 3
    return push(
        store,
        f"r/{name}-{salt}",
        {
            "model.float32.tflite": (MODELS / f"{model}.float32.tflite").read_bytes(),
            "model.int8.tflite": (MODELS / f"{model}.int8.tflite").read_bytes(),
            "manifest.json": json.dumps({"salt": salt}).encode(),
            "split.npz": npz_bytes(
                training=places[2 * third :],
                validation=places[:third],
                test=places[third : 2 * third],
            ),
        },
    )


def bench_requests() -> None:
    """A warm request against the bare loop, and the overhead of a small one."""
    with service() as (store, stub):
        features, data = _dataset(store, "conv2d", 10_000, 650)
        _, small = _dataset(store, "dense", 300, 33)

        def ask(run, dataset) -> None:
            keys = {"result_key": f"{run.file('split.npz').key}.json"}
            keys["scores_key"] = f"{run.file('split.npz').key}.npz"
            stub.Evaluate(request_of(run, dataset, CLASSES, **keys))

        ask(_run(store, "conv2d", "conv2d", 10_000, -1), data)
        ask(_run(store, "dense", "dense", 300, -1), small)
        ratios, walls = [], []
        for salt in range(3):
            run = _run(store, "conv2d", "conv2d", 10_000, salt)
            loop = bare_loop(features)
            wall = seconds(lambda run=run: ask(run, data))
            ratios.append(wall / loop)
            walls.append(wall)
        figure(
            "warm request, 10,000 conv2d rows, float32 and int8", statistics.median(walls), "s", 60
        )
        figure("warm request against the bare LiteRT loop", statistics.median(ratios), "times", 2.0)
        overheads = []
        for salt in range(15):
            run = _run(store, "dense", "dense", 300, salt)
            overheads.append(seconds(lambda run=run: ask(run, small)) * 1000)
        figure(
            "overhead of a warm request (300 dense rows)", statistics.median(overheads), "ms", 30
        )


def bench_metrics() -> None:
    """All metrics of 100,000 rows x 12 classes, against scikit-learn's without intervals."""
    from linnet_evaluator.scores import thresholds
    from linnet_evaluator.scores.scoring import score_all
    from sklearn import metrics

    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(12), 100_000).astype(np.float32)
    labels = random.integers(0, 12, 100_000)

    def ours() -> None:
        score_all(scores, labels)
        thresholds.suggest(thresholds.sweep(scores, labels))

    def theirs() -> None:
        predicted = scores.argmax(axis=1)
        metrics.confusion_matrix(labels, predicted)
        metrics.precision_recall_fscore_support(labels, predicted)
        metrics.matthews_corrcoef(labels, predicted)
        metrics.log_loss(labels, scores)
        metrics.roc_auc_score(labels, scores, multi_class="ovr")
        metrics.average_precision_score(np.eye(12)[labels], scores)

    ours()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(5)]
    figure("all metrics, 100,000 x 12", statistics.median(p[0] for p in pairs), "s", 0.3)
    ratio = statistics.median(p[0] / p[1] for p in pairs)
    figure("all metrics against scikit-learn's", ratio, "times", 1.0)


def _windows() -> np.ndarray:
    """Cut 20,000 windows of 2 s from the watch recordings, on 64 principal components, float32."""
    from linnet_evaluator.exploring.principal import principal
    from linnet_sdk.examples.smartwatch import installed_recordings

    series = [recording.values for recording in installed_recordings()[0]]
    cut = [s[i : i + 100].ravel() for s in series for i in range(0, len(s) - 99, 11)]
    table = np.array(cut, dtype=np.float32)
    table = table[np.random.default_rng(0).permutation(len(table))[:20_000]]
    return principal((table - table.mean(axis=0)) / table.std(axis=0), 64).rows


_RIVAL = """
import sys, numpy as np
import umap
points = np.load(sys.argv[1])
np.save(sys.argv[2], umap.UMAP(random_state=0).fit_transform(points))
"""


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rival_cpu_s(points: Path, out: Path) -> float:
    python = RIVALS / "bin" / "python"
    if not python.exists():
        subprocess.run([uv_program(), "venv", "-q", "--python", sys.executable, RIVALS], check=True)
        packages = ["umap-learn==0.5.12", "scikit-learn"]
        subprocess.run(
            [uv_program(), "pip", "install", "-q", "--python", python, *packages], check=True
        )
        # The first run compiles for minutes; only what every fresh process pays is compared.
        subprocess.run([python, "-c", "import umap"], check=True)
    before = _children_s()
    subprocess.run([python, "-c", _RIVAL, points, out], check=True, stderr=subprocess.DEVNULL)
    return _children_s() - before


def bench_projections() -> None:
    """UMAP against umap-learn in a fresh process, its trustworthiness, and PCA."""
    from linnet_evaluator.exploring.projector import WARM_MODULES, SandboxProjector
    from linnet_evaluator.record import ProjectionMethod
    from linnet_runtime.sandbox import Limits, Sandbox, SharedBytes
    from sklearn.manifold import trustworthiness

    points = _windows()
    sandbox = Sandbox(WARM_MODULES, subject="PROJECTION")
    sandbox.start()
    projector = SandboxProjector(sandbox, Limits(wall_s=600, memory_bytes=8 << 30))
    with SharedBytes(np.ascontiguousarray(points).data) as shared:
        answer = sandbox.run(
            "linnet_evaluator.exploring.projections:run",
            {"method": "umap", "values": 64},
            [shared],
            Limits(wall_s=600, memory_bytes=8 << 30),
        )
    picture = np.frombuffer(answer.outputs[0], np.float32).reshape(-1, 2)
    figure("UMAP of 20,000 x 64, CPU time", answer.cpu_s, "s", 60)
    kept = trustworthiness(points[:5000], picture[:5000], n_neighbors=10)
    figure("trustworthiness of it (k = 10, 5,000 points)", kept, "", 0.88, least=True)
    pca = [seconds(lambda: projector.project(points, ProjectionMethod.PCA)) for _ in range(5)]
    figure("PCA of 20,000 x 64", statistics.median(pca), "s", 0.5)
    sandbox.close()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "points.npy", Path(folder) / "picture.npy"
        buffer = io.BytesIO()
        np.save(buffer, points)
        path.write_bytes(buffer.getvalue())
        rival = _rival_cpu_s(path, out)
        theirs = np.load(out)
    figure(
        "UMAP's CPU time against umap-learn's, fresh process", answer.cpu_s / rival, "times", 1 / 3
    )
    kept = trustworthiness(points[:5000], theirs[:5000], n_neighbors=10)
    figure("trustworthiness of umap-learn's, for comparison", kept, "", 0.0, least=True)


if __name__ == "__main__":
    for part in (bench_metrics, bench_requests, bench_projections):
        if len(sys.argv) == 1 or part.__name__.removeprefix("bench_") in sys.argv[1:]:
            part()

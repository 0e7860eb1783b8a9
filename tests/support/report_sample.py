"""A report with everything in it: real scores of the test models, made curves and profile."""

from pathlib import Path

import numpy as np
from linnet.v1 import evaluation_pb2, profile_pb2, run_pb2, spec_pb2, training_service_pb2
from linnet_evaluator.assembly import RunScores, assemble
from linnet_evaluator.exploring import projections
from linnet_evaluator.findings.row_groups import Groups
from linnet_evaluator.findings.scored_set import ScoredSet
from linnet_evaluator.record import SplitSide, Variant
from linnet_evaluator.running.model_runner import ModelRunner
from linnet_evaluator.stored.run_files import OutOfFold
from linnet_ml import wire
from linnet_ml.samples import Samples
from linnet_runtime.sandbox import Limits, Sandbox, SharedBytes

from tests.support.evaluator_process import npy_bytes

MODELS = Path(__file__).parents[1] / "data" / "evaluator"
CLASSES = ("pendulum", "abduction", "elevation", "inner <rotation>", "outer", "trap", "row")


def _scores(features):
    sandbox = Sandbox()
    found = {}
    with SharedBytes(npy_bytes(features)) as shared:
        for variant in (Variant.FLOAT32, Variant.INT8):
            model = (MODELS / f"dense.{variant.name.lower()}.tflite").read_bytes()
            run = ModelRunner(sandbox, Limits()).run(model, shared, field="model")
            found[variant] = run.scores.floats()
    sandbox.close()
    return found


def _evaluation(features, labels, scores) -> evaluation_pb2.Evaluation:
    sides = {
        SplitSide.VALIDATION: np.arange(0, 150),
        SplitSide.TEST: np.arange(150, 300),
        SplitSide.TRAINING: np.arange(300, 600),
    }
    ids = np.array([f"series-{i // 20}/{i % 20}" for i in range(len(labels))])
    groups = np.array([f"subject {i % 10 + 1}" for i in range(len(labels))])
    rest = np.concatenate([sides[SplitSide.VALIDATION], sides[SplitSide.TRAINING]])
    run = RunScores(
        sets={
            (variant, side): ScoredSet.of(rows, labels[rows], found[rows])
            for variant, found in scores.items()
            for side, rows in sides.items()
        },
        model_sha256={Variant.FLOAT32: "a1" * 32, Variant.INT8: "b2" * 32},
        samples=Samples(sample_id=ids, group=groups),
        groups=Groups.of(groups),
        labels=labels,
        out_of_fold=OutOfFold(rest, rest % 5, scores[Variant.FLOAT32][rest]),
    )
    return wire.to_message(assemble(run, CLASSES, "c3" * 32, "d4" * 32), evaluation_pb2.Evaluation)


def _epochs() -> list[run_pb2.Epoch]:
    steps = np.arange(1, 31)
    return [
        run_pb2.Epoch(
            number=int(i),
            loss=float(1.9 * np.exp(-i / 8) + 0.15),
            accuracy=float(1 - 0.8 * np.exp(-i / 7)),
            val_loss=float(1.9 * np.exp(-i / 8) + 0.3 + 0.004 * i),
            val_accuracy=float(0.86 - 0.7 * np.exp(-i / 6)),
            best=bool(i == 22),
        )
        for i in steps
    ]


def _profile(variant: int, scale: float) -> profile_pb2.Profile:
    kinds = ("CONV_2D", "MAX_POOL_2D", "CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "SOFTMAX")
    times = (310.0, 42.0, 505.0, 21.0, 38.0, 17.0)
    return profile_pb2.Profile(
        target="cortex-m4f-80mhz",
        variant=variant,
        ram=profile_pb2.RamProfile(total_bytes=int(7000 * scale), basis=2),
        flash=profile_pb2.FlashProfile(total_bytes=int(52_000 * scale)),
        latency=profile_pb2.LatencyProfile(
            milliseconds=sum(times) / 1000 * scale,
            low_milliseconds=0.8 * scale,
            high_milliseconds=1.2 * scale,
            basis=3,
        ),
        operators=[
            profile_pb2.OperatorProfile(
                index=i,
                kind=kind,
                input_shape=[1, 1, 50 >> i // 2, 13],
                output_shape=[1, 1, 50 >> i // 2, 8],
                mac_count=12_000 * (i + 1),
                latency_us=time * scale,
                share=time / sum(times),
            )
            for i, (kind, time) in enumerate(zip(kinds, times, strict=True))
        ],
        verdict=profile_pb2.Verdict(
            fits=scale < 3,
            ram_fits=True,
            flash_fits=scale < 3,
            latency_fits=True,
            reasons=[] if scale < 3 else ["Flash needs 203 KiB, the target has 128 KiB."],
        ),
        suggestions=[profile_pb2.Suggestion(text="Pool once more: saves 1.2 KiB of RAM.")],
        kernels="cmsis-nn",
        parameter_count=1234,
        mac_count=252_000,
    )


def sample() -> tuple[training_service_pb2.Report, evaluation_pb2.Explorer]:
    """Make the report and the explorer's points."""
    with np.load(MODELS / "dense.npz") as data:
        features, labels = data["features"], data["labels"].astype(np.int64)
    scores = _scores(features)
    run = run_pb2.Run(
        name="projects/demo/runs/watch-1",
        display_name="Watch exercises, dense <20, 10>",
        state=run_pb2.RUN_STATE_SUCCEEDED,
        spec=spec_pb2.TrainingSpec(
            dataset="projects/demo/datasets/watch",
            fit=spec_pb2.FitSettings(epochs=30, learning_rate=0.0005, batch_size=32, seed=1),
            split=spec_pb2.SplitSpec(validation_share=0.2),
            architecture=spec_pb2.Architecture(
                layers=spec_pb2.LayerList(
                    layers=[
                        spec_pb2.Layer(kind=spec_pb2.LAYER_KIND_DENSE, units=20),
                        spec_pb2.Layer(kind=spec_pb2.LAYER_KIND_DENSE, units=10),
                    ]
                )
            ),
        ),
        warnings=["The validation set has no rows of class 6."],
    )
    run.create_time.FromSeconds(1_795_000_000)
    run.summary.epochs = 30
    run.summary.best_epoch = 22
    run.summary.train_seconds = 1.8
    run.summary.parameter_count = 967
    report = training_service_pb2.Report(
        run=run,
        epochs=_epochs(),
        evaluation=_evaluation(features, labels, scores),
        profiles=[
            _profile(run_pb2.VARIANT_FLOAT32, 4.0),
            _profile(run_pb2.VARIANT_INT8, 1.0),
        ],
        target=profile_pb2.Target(
            id="cortex-m4f-80mhz",
            display_name="Cortex-M4F 80 MHz",
            core="cortex-m4f",
            clock_hz=80_000_000,
            ram_bytes=131_072,
            flash_bytes=131_072,
        ),
    )
    xy, fitted, _ = projections.project(features, "umap")
    predicted = scores[Variant.INT8].argmax(axis=1)
    explorer = evaluation_pb2.Explorer(
        points=evaluation_pb2.ExplorerPoints(
            x=xy[:, 0].tolist(),
            y=xy[:, 1].tolist(),
            row=range(len(xy)),
            label=labels.tolist(),
            prediction=predicted.tolist(),
        ),
        point_count=len(xy),
        fitted_count=fitted,
        row_count=len(xy),
        method=evaluation_pb2.PROJECTION_METHOD_UMAP,
        source=evaluation_pb2.FEATURE_SOURCE_INPUT,
        variant=run_pb2.VARIANT_INT8,
    )
    return report, explorer

"""Speed of the trainer against stock Keras, interleaved; prints one JSON line a figure.

    python tests/bench/bench_trainer.py [--quick] [NAME ...]

Each side of each repetition is a process of its own on one machine, one after the other, with the
same data, batches and validation. `--quick` repeats once and shortens the shards. Names choose:
dense, conv1d, conv2d, dense-200, shard-dense, shard-conv1d, shard-memory.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPEATS = 5
ROWS, VALIDATION_SHARE, BATCH = 2000, 0.2, 32
FITS = {
    # name: (preset, features, cycles, goal as a share of stock's time)
    "dense": ("dense", 33, 30, 1 / 8),
    "conv1d": ("conv1d", 650, 30, 1 / 4),
    "conv2d": ("conv2d", 650, 30, 1 / 2.5),
    "dense-200": ("dense", 33, 200, 1 / 18),
}
SHARDS = {"dense": 25.0, "conv1d": 9.0}
STOCK_PAIRS = 3
"""Pairs of stock processes; their mean stands for all pairs of a shard."""
MOST_TRAINER_BYTES, MOST_TOTAL_BYTES = 700e6, 1e9

STOCK = """
import json, sys, time
import numpy as np
features, labels, preset, cycles, convert = sys.argv[1:6]
import tensorflow as tf, keras
from keras import layers as L
x, y = np.load(features), np.load(labels)
n = int(len(x) * 0.8)
keras.utils.set_random_seed(1)
inputs = keras.Input(x.shape[1:])
h = inputs
if preset == "dense":
    for units in (20, 10):
        h = L.Dense(units, activation="relu", activity_regularizer=keras.regularizers.L1(1e-5))(h)
else:
    flat = preset == "conv1d"
    h = L.Reshape((50, 13) if flat else (50, 13, 1))(h)
    for units in (8, 16):
        if flat:
            h = L.Conv1D(units, 3, padding="same", activation="relu")(h)
            h = L.Dropout(0.25)(L.MaxPool1D(2, padding="same")(h))
        else:
            h = L.Conv2D(units, 3, padding="same", activation="relu",
                         kernel_constraint=keras.constraints.MaxNorm(1))(h)
            h = L.Dropout(0.5)(L.MaxPool2D(2, padding="same")(h))
    h = L.Flatten()(h)
model = keras.Model(inputs, L.Dense(7, activation="softmax")(h))
loss = "sparse_categorical_crossentropy"
model.compile(keras.optimizers.Adam(0.0005), loss, metrics=["accuracy"])
begun = time.monotonic()
held = (x[n:], y[n:])
model.fit(x[:n], y[:n], validation_data=held, batch_size=32, epochs=int(cycles), verbose=0)
seconds = time.monotonic() - begun
if convert == "yes":
    tf.lite.TFLiteConverter.from_keras_model(model).convert()
    c = tf.lite.TFLiteConverter.from_keras_model(model)
    c.optimizations = [tf.lite.Optimize.DEFAULT]
    c.representative_dataset = lambda: ([r[None]] for r in x[:200])
    c.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    c.inference_input_type = c.inference_output_type = tf.int8
    c.convert()
print(json.dumps({"seconds": seconds}))
"""

OURS = """
import json, os, sys, time
from dataclasses import replace
from pathlib import Path
features, labels, preset, cycles, runs, out, first_seed, watched = sys.argv[1:9]
from linnet_ml.defaults import resolve
from linnet_ml.spec import Architecture, FitSettings, TrainingSpec
from linnet_trainer.local.files import LocalFiles, guess_kind, read_data
from linnet_trainer.startup import workshop
given = TrainingSpec(fit=FitSettings(epochs=int(cycles), learning_rate=0.0005),
                     architecture=Architecture(preset=preset))
data = read_data(LocalFiles(Path(features), Path(labels)), None, (), given)

def pss(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0

def private(pid):
    # Shares of files that other processes map too would change with those processes.
    wanted = ("Private_Clean:", "Private_Dirty:")
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))

def family():
    mine, found = {os.getpid()}, [os.getpid()]
    for _ in range(3):
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) not in mine:
                try:
                    parent = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
                if parent in mine:
                    mine.add(int(entry))
    return mine

class Events:
    first = None
    fitted = None
    def line(self, text, *, warning=False): pass
    def epoch(self, record, line, ratio):
        self.first = self.first or time.monotonic()
        self.fitted = time.monotonic()
    def ratio(self, ratio): pass
    def exporting(self): pass
    def interruption(self): return None
    def checkpoint(self, stored): pass
    def used(self, seconds): pass

with workshop() as shop:
    from linnet_trainer.train_one import train_one
    from linnet_trainer.run_contract import RunOrder
    ready = time.monotonic()
    memory, grown, digests, events = [], [], [], Events()
    for run in range(int(runs)):
        folder = Path(out) / str(run)
        folder.mkdir()
        spec = replace(given, fit=replace(given.fit, seed=run + int(first_seed)))
        spec = resolve(spec, input_kind=data.input_kind, input_shape=data.input_shape,
                       class_count=len(data.classes), has_groups=False)
        outcome = train_one(shop, RunOrder("r", 1, spec, data), events if run == 0 else Events(),
                            folder)
        digests.append(outcome.figures.weights_sha256)
        if watched == "yes":
            # Reading the page tables of all processes takes longer than a part of a run.
            memory.append(sum(pss(pid) for pid in family()))
            grown.append(sum(private(pid) for pid in family()))
    print(json.dumps({
        "seconds": events.fitted - ready,
        "first_epoch_seconds": events.first - ready,
        "memory_bytes": memory,
        "private_bytes": grown,
        "own_bytes": pss(os.getpid()),
        "digests": digests,
    }))
"""


def figure(name, value, unit, goal, ok):
    print(
        json.dumps({"name": name, "value": value, "unit": unit, "goal": goal, "ok": ok}), flush=True
    )


def arrays(folder: Path, width: int) -> tuple[Path, Path]:
    """Make the rows of a bench: seven classes that can be told apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, ROWS)
    x = rng.normal(size=(ROWS, width)).astype(np.float32)
    x[np.arange(ROWS), labels] += 2
    paths = folder / f"x{width}.npy", folder / f"y{width}.npy"
    np.save(paths[0], x)
    np.save(paths[1], labels)
    return paths


def process(source: str, *arguments: object) -> subprocess.Popen:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def answer(running: subprocess.Popen) -> dict:
    out, _ = running.communicate()
    if running.returncode:
        raise SystemExit(f"a side of the bench ended with {running.returncode}")
    return json.loads(out.decode().strip().splitlines()[-1])


def fits(folder: Path, repeats: int, chosen: list[str]) -> None:
    for name, (preset, width, cycles, goal) in FITS.items():
        if chosen and name not in chosen:
            continue
        paths = arrays(folder, width)
        ratios, firsts, memory, totals = [], [], [], []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as out:
                ours = answer(process(OURS, *paths, preset, cycles, 1, out, 1, "yes"))
            stock = answer(process(STOCK, *paths, preset, cycles, "no"))
            ratios.append(ours["seconds"] / stock["seconds"])
            firsts.append(ours["first_epoch_seconds"])
            memory.append(ours["own_bytes"])
            totals.append(ours["memory_bytes"][0])
        ratio = statistics.median(ratios)
        figure(f"trainer.fit.{name}.share_of_stock", ratio, "ratio", goal, ratio <= goal)
        first = statistics.median(firsts)
        figure(f"trainer.fit.{name}.first_epoch", first, "s", 1.5, first <= 1.5)
        most, total = max(memory), max(totals)
        figure(
            f"trainer.fit.{name}.memory",
            most,
            "bytes",
            MOST_TRAINER_BYTES,
            most <= MOST_TRAINER_BYTES,
        )
        figure(
            f"trainer.fit.{name}.memory_with_child", total, "bytes", MOST_TOTAL_BYTES,
            total <= MOST_TOTAL_BYTES,
        )  # fmt: skip


def shards(folder: Path, runs: int, chosen: list[str]) -> None:
    """Two trainers share the runs, as two cores would; stock's time is that of fewer runs."""
    for preset, goal in SHARDS.items():
        if chosen and f"shard-{preset}" not in chosen:
            continue
        paths = arrays(folder, FITS[preset][1])
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as out:
            halves = [
                process(OURS, *paths, preset, 30, runs // 2, folder_in(out, half), 1, "no")
                for half in range(2)
            ]
            ours = [answer(half) for half in halves]
        seconds = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(STOCK_PAIRS):
            pair = [process(STOCK, *paths, preset, 30, "yes") for _ in range(2)]
            for one in pair:
                answer(one)
        stock_seconds = (time.monotonic() - begun) * runs / (2 * STOCK_PAIRS)
        times = stock_seconds / seconds
        figure(f"trainer.shard.{preset}.throughput_of_stock", times, "ratio", goal, times >= goal)
        figure(f"trainer.shard.{preset}.seconds", seconds, "s", None, True)
        with tempfile.TemporaryDirectory() as out:
            alone = answer(process(OURS, *paths, preset, 30, 1, folder_in(out, 0), runs // 2, "no"))
        equal = ours[0]["digests"] == ours[1]["digests"]
        equal = equal and alone["digests"][0] == ours[0]["digests"][-1]
        figure(f"trainer.shard.{preset}.weights_as_alone", float(equal), "bool", 1.0, equal)


def leak(folder: Path, runs: int) -> None:
    """Memory of one trainer with its child after each of many runs."""
    with tempfile.TemporaryDirectory() as out:
        paths = arrays(folder, 33)
        one = answer(process(OURS, *paths, "dense", 30, runs, folder_in(out, 0), 1, "yes"))
    memory = one["private_bytes"]
    growth = memory[-1] / memory[min(4, len(memory) - 1)]
    figure("trainer.shard.dense.memory_growth", growth, "ratio", 1.1, growth <= 1.1)


def folder_in(out: str, number: int) -> Path:
    place = Path(out) / str(number)
    place.mkdir()
    return place


def main() -> None:
    quick = "--quick" in sys.argv
    chosen = [name for name in sys.argv[1:] if not name.startswith("-")]
    runs = 12 if quick else 50
    with tempfile.TemporaryDirectory() as folder:
        fits(Path(folder), 1 if quick else REPEATS, chosen)
        shards(Path(folder), runs, chosen)
        if not chosen or "shard-memory" in chosen:
            leak(Path(folder), runs)


if __name__ == "__main__":
    main()

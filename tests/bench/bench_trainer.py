"""Speed of the trainer against stock Keras, interleaved; prints one JSON line a figure.

    python tests/bench/bench_trainer.py [--quick] [NAME ...]

Each side of each repetition is a process of its own on one machine, one after the other. Both fit
the same scaled rows in the same batches from the same first weights and validate after each epoch.
`weights` says how far the first ends from one more stock process, which has one thread as the
trainer has: not at all. Sums of convolutions' gradients are parted among
threads, and their last bits hang on it; on oneDNN too, so both sides use it, which TensorFlow by
itself does on some CPUs only. tests/integration/test_trainer_loop.py compares bits. `--quick`
repeats once and shortens the shards. Names choose: dense, conv1d, conv2d, dense-200, shard-dense,
shard-conv1d, shard-memory.

`first_epoch` begins when `import tensorflow` has ended, which comes after the spec and the files
are read, as in the command: it holds Keras, the export's fork, scaling, and tracing. `memory` is
the peak of the trainer's resident memory as the kernel counts it, pages of libraries included;
`memory_with_child` the highest sum of proportional shares of trainer and children, sampled in a run
that is not timed. A shard's stock processes shuffle by themselves.
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
ROWS, VALIDATION_SHARE = 2000, 0.2
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
FIRST_EPOCH_S, APART, SAMPLE_S = 1.5, 1e-5, 0.02

STOCK = """
import json, sys, time
import numpy as np
features, labels, preset, cycles, held, weights, convert, threads = sys.argv[1:9]
import tensorflow as tf, keras
# Zero leaves it to TensorFlow.
tf.config.threading.set_intra_op_parallelism_threads(int(threads))
tf.config.threading.set_inter_op_parallelism_threads(int(threads))
from keras import layers as L
x, y = np.load(features), np.load(labels)
held_x, held_y = x[-int(held):], y[-int(held):]
x, y = x[:-int(held)], y[:-int(held)]
ordered = weights != "none"
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
# Rows in order are those of all epochs, one after the other.
steps = {"shuffle": False, "steps_per_epoch": len(x) // 32 // int(cycles)} if ordered else {}
begun = time.monotonic()
model.fit(x, y, validation_data=(held_x, held_y), batch_size=32, epochs=int(cycles), verbose=0,
          **steps)
seconds = time.monotonic() - begun
apart = None
if ordered:
    ours = keras.models.load_model(weights).get_weights()
    apart = max(float(np.abs(a - b).max()) for a, b in zip(model.get_weights(), ours))
if convert == "yes":
    tf.lite.TFLiteConverter.from_keras_model(model).convert()
    c = tf.lite.TFLiteConverter.from_keras_model(model)
    c.optimizations = [tf.lite.Optimize.DEFAULT]
    c.representative_dataset = lambda: ([r[None]] for r in x[:200])
    c.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    c.inference_input_type = c.inference_output_type = tf.int8
    c.convert()
print(json.dumps({"seconds": seconds, "apart": apart}))
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
given = TrainingSpec(fit=FitSettings(epochs=int(cycles), learning_rate=0.0005, keep_best=False),
                     architecture=Architecture(preset=preset))
data = read_data(LocalFiles(Path(features), Path(labels)), None, (), given)
from linnet_trainer.fit import engine
engine.prepare_environment()
import tensorflow
imported = time.monotonic()

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

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

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
    grown, digests, events = [], [], Events()
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
            grown.append(sum(private(pid) for pid in family()))
    print(json.dumps({
        "seconds": events.fitted - ready,
        "first_epoch_seconds": events.first - imported,
        "private_bytes": grown,
        "peak_bytes": peak(),
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
    # A fifth of each class is whole, so that 1,600 rows train in whole batches.
    labels = rng.permutation(np.repeat(np.arange(7), [285] * 6 + [ROWS - 6 * 285]))
    x = rng.normal(size=(ROWS, width)).astype(np.float32)
    x[np.arange(ROWS), labels] += 2
    paths = folder / f"x{width}.npy", folder / f"y{width}.npy"
    np.save(paths[0], x)
    np.save(paths[1], labels)
    return paths


def process(source: str, *arguments: object) -> subprocess.Popen:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
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


def pss_bytes(pid: int) -> int:
    """Give the proportional share of a process and its descendants; 0 where it has ended."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = int(line.split()[1]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(map(pss_bytes, map(int, (task / "children").read_text().split())))
    except OSError:
        return total
    return total


def watched_peak(running: subprocess.Popen) -> int:
    """Sample a process and its descendants until it ends; give the highest sum."""
    most = 0
    while running.poll() is None:
        most = max(most, pss_bytes(running.pid))
        time.sleep(SAMPLE_S)
    return most


def in_order(paths: tuple[Path, Path], out: Path, cycles: int) -> tuple[tuple[Path, Path], int]:
    """Lay out the rows of all epochs as a run of ours took them, its validation rows behind.

    Returns:
        Where features and labels are, and how many rows validate.
    """
    x, y = (np.load(path) for path in paths)
    manifest = json.loads((out / "manifest.json").read_text())
    scaling, seed = manifest["input_scaling"], manifest["seed"]
    if scaling["offset"]:
        offset, factor = (np.asarray(scaling[name], np.float32) for name in ("offset", "factor"))
        x = ((x - offset) * factor).astype(np.float32)
    with np.load(out / "split.npz") as split:
        training, held = split["training"], split["validation"]
    epochs = [
        training[np.random.Generator(np.random.PCG64([seed, 0, n])).permutation(training.size)]
        for n in range(cycles)
    ]
    rows = np.concatenate([*epochs, held])
    made = out / "ordered_x.npy", out / "ordered_y.npy"
    np.save(made[0], x[rows])
    np.save(made[1], y[rows])
    return made, held.size


def fits(folder: Path, repeats: int, chosen: list[str]) -> None:
    for name, (preset, width, cycles, goal) in FITS.items():
        if chosen and name not in chosen:
            continue
        paths = arrays(folder, width)
        ratios, firsts, memory = [], [], []
        for repeat in range(repeats):
            with tempfile.TemporaryDirectory() as out:
                ours = answer(process(OURS, *paths, preset, cycles, 1, out, 1, "no"))
                place = Path(out) / "0"
                ordered, held = in_order(paths, place, cycles)
                model = place / "model.keras"
                same = (*ordered, preset, cycles, held, model, "no")
                stock = answer(process(STOCK, *same, 0))
                if repeat == 0:
                    apart = answer(process(STOCK, *same, 1))["apart"]
            ratios.append(ours["seconds"] / stock["seconds"])
            firsts.append(ours["first_epoch_seconds"])
            memory.append(ours["peak_bytes"])
        with tempfile.TemporaryDirectory() as out:
            running = process(OURS, *paths, preset, cycles, 1, out, 1, "no")
            total = watched_peak(running)
            answer(running)
        ratio, first = statistics.median(ratios), statistics.median(firsts)
        most = max(memory)
        told = f"trainer.fit.{name}"
        figure(f"{told}.share_of_stock", ratio, "ratio", goal, ratio <= goal)
        figure(f"{told}.weights", apart, "difference", APART, apart <= APART)
        figure(f"{told}.first_epoch", first, "s", FIRST_EPOCH_S, first <= FIRST_EPOCH_S)
        figure(f"{told}.memory", most, "bytes", MOST_TRAINER_BYTES, most <= MOST_TRAINER_BYTES)
        most_total = MOST_TOTAL_BYTES
        figure(f"{told}.memory_with_child", total, "bytes", most_total, total <= most_total)


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
            held = int(ROWS * VALIDATION_SHARE)
            shuffled = (*paths, preset, 30, held, "none", "yes", 0)
            pair = [process(STOCK, *shuffled) for _ in range(2)]
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
    """Memory of a trainer and its children's own pages after each of many runs."""
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

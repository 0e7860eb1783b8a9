"""The replay against the real interpreter, on models that no figure here was fitted to."""

import json
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from linnet_profiler.analysis import Analysis
from linnet_profiler.basis import Basis
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import Abi
from linnet_profiler.memory.arena import replay
from linnet_profiler.support import unsupported_operators
from linnet_profiler.targets import bare_core, cores
from linnet_profiler.tflite.parser import parse

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "data" / "profiler"
# Division by what happens to be zero: neither the operator nor its type is at fault.
DATA_AT_FAULT = ("Division by 0",)
# One core for each set of counts and kernels; the others stand on these.
CORES = ("cortex-m0plus", "cortex-m33", "cortex-m55", "xtensa-lx7", "riscv32imc", "cortex-a53")
# Kernels that move bytes whatever they mean.
ANY_TYPE = ("PACK", "UNPACK", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE")


@cache
def interpreted(archive: str) -> list[dict[str, Any]]:
    """What the wheel says of every model of an archive."""
    command = [sys.executable, str(HERE / "interpreter_totals.py"), str(DATA / archive)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines()]


@cache
def contents(archive: str) -> dict[str, bytes]:
    """Every model of an archive by name."""
    with zipfile.ZipFile(DATA / archive) as files:
        return {name: files.read(name) for name in files.namelist()}


@pytest.mark.parametrize(("archive", "least"), [("generated_models.zip", 250), ("models.zip", 285)])
def test_the_replay_equals_the_real_interpreter_to_the_byte(archive: str, least: int) -> None:
    """Total and head of every model that the wheel loads are those of its 64-bit replay."""
    compared, wrong = 0, []
    for line in interpreted(archive):
        if line["total"] is None:
            continue
        compared += 1
        model = parse(contents(archive)[line["name"]])
        plan = replay(model, Abi.WHEEL, KernelSet.REFERENCE)
        if (plan.arena_used_bytes, plan.head_bytes) != (line["total"], line["head"]):
            wrong.append((line["name"], line["total"], plan.arena_used_bytes))
    assert compared >= least
    assert wrong == []


def test_operators_are_supported_exactly_where_the_interpreter_runs_them() -> None:
    """Each model that the wheel refuses or can't run has an unsupported operator, and no other."""
    wrong = []
    for line in interpreted("generated_models.zip"):
        if any(reason in text for text in line["why"] for reason in DATA_AT_FAULT):
            continue
        found = unsupported_operators(parse(contents("generated_models.zip")[line["name"]]))
        if line["ran"] == bool(found):
            wrong.append((line["name"], line["why"], found))
    assert wrong == []


@pytest.mark.parametrize("core", CORES)
def test_no_operator_of_any_kind_costs_nothing(core: str) -> None:
    """Every operator of every model has instructions, and types without a count say estimated."""
    for library in cores()[core].libraries:
        target = bare_core(core, library)
        for name, data in contents("generated_models.zip").items():
            profile = Analysis.of(data).profile(target)
            for operator in profile.operators:
                assert operator.instructions >= 40, (name, operator)
                if operator.dtype in ("int16", "int32", "bool"):
                    assert operator.basis is Basis.ESTIMATED or operator.name in ANY_TYPE, name
            assert profile.ram.total_bytes > 0
            assert profile.flash.code_bytes > 0

"""Sizes of TFLM's own objects per ABI, in bytes.

Source: sizeof() of the classes at tflite-micro 90b983c2 compiled by gcc 12.2 with
TF_LITE_STATIC_MEMORY and without compression; Cortex-M ABIs use short enums, Xtensa and RISC-V int
enums (arm-gcc with -fno-short-enums stands for them). The wheel column is the recording
interpreter of the PyPI wheel tflite_micro 0.dev20261023182759, which is built with compression.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Abi(StrEnum):
    """How a target lays out structs."""

    ARM32 = "arm32"
    INT_ENUM32 = "int-enum32"
    X86_64 = "x86-64"
    WHEEL = "x86-64-wheel"


@dataclass(frozen=True, slots=True)
class AbiSizes:
    """Sizes in bytes; `pointer` is also the alignment of structs that hold one."""

    pointer: int
    arena_allocator: int
    greedy_planner: int
    micro_allocator: int
    builtin_allocator: int
    subgraph_allocations: int
    eval_tensor: int
    node_and_registration: int
    tensor: int
    affine_quantization: int
    scratch_handle: int
    scratch_request: int
    allocation_info: int
    planned_buffer: int
    interpreter: int
    registration: int
    resolver_fixed: int
    resource_variables: int
    resource_variable: int
    int_enums: bool

    @property
    def is_64_bit(self) -> bool:
        """True where pointers take 8 bytes."""
        return self.pointer > 4


_ARM32 = {
    "pointer": 4,
    "arena_allocator": 36,
    "greedy_planner": 44,
    "micro_allocator": 36,
    "builtin_allocator": 8,
    "subgraph_allocations": 8,
    "eval_tensor": 12,
    "node_and_registration": 32,
    "tensor": 32,
    "affine_quantization": 12,
    "scratch_handle": 4,
    "scratch_request": 12,
    "allocation_info": 24,
    "planned_buffer": 40,
    "interpreter": 208,
    "registration": 36,
    "resolver_fixed": 12,
    "resource_variables": 12,
    "resource_variable": 20,
}
_X86_64 = {
    "pointer": 8,
    "arena_allocator": 72,
    "greedy_planner": 72,
    "micro_allocator": 72,
    "builtin_allocator": 16,
    "subgraph_allocations": 16,
    "eval_tensor": 24,
    "node_and_registration": 64,
    "tensor": 64,
    "affine_quantization": 24,
    "scratch_handle": 8,
    "scratch_request": 16,
    "allocation_info": 32,
    "planned_buffer": 40,
    "interpreter": 408,
    "registration": 72,
    "resolver_fixed": 16,
    "resource_variables": 16,
    "resource_variable": 40,
}

ABI_SIZES: dict[Abi, AbiSizes] = {
    Abi.ARM32: AbiSizes(**_ARM32, int_enums=False),
    Abi.INT_ENUM32: AbiSizes(**{**_ARM32, "tensor": 40, "interpreter": 212}, int_enums=True),
    Abi.X86_64: AbiSizes(**_X86_64, int_enums=True),
    Abi.WHEEL: AbiSizes(
        **{
            **_X86_64,
            "arena_allocator": 104,
            "micro_allocator": 272,
            "subgraph_allocations": 24,
        },
        int_enums=True,
    ),
}

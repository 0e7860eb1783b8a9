"""Which kernels a build of TFLM links."""

from __future__ import annotations

from enum import StrEnum


class KernelSet(StrEnum):
    """Kernel library and the variant that the core's instruction set selects."""

    REFERENCE = "reference"
    CMSIS_C = "cmsis-nn-c"
    CMSIS_DSP = "cmsis-nn-dsp"
    CMSIS_MVE = "cmsis-nn-mve"
    ESP_GENERIC = "esp-nn"
    ESP_S3 = "esp-nn-s3"
    ESP_P4 = "esp-nn-p4"

    @property
    def is_cmsis(self) -> bool:
        """True for the three variants of CMSIS-NN."""
        return self in (KernelSet.CMSIS_C, KernelSet.CMSIS_DSP, KernelSet.CMSIS_MVE)

    @property
    def is_esp(self) -> bool:
        """True for the variants of ESP-NN."""
        return self in (KernelSet.ESP_GENERIC, KernelSet.ESP_S3, KernelSet.ESP_P4)

    @property
    def library(self) -> str:
        """Name of the library as a user chooses it: reference, cmsis-nn or esp-nn."""
        if self.is_cmsis:
            return "cmsis-nn"
        return "esp-nn" if self.is_esp else "reference"

"""RAM, flash and latency of a .tflite file on a microcontroller, from the file alone."""

from linnet_profiler.analysis import Analysis, profile, profile_all, smallest_that_fits
from linnet_profiler.errors import ModelError, UnknownTargetError
from linnet_profiler.profile import Budgets, Profile
from linnet_profiler.targets import Target, bare_core, custom_target, find_target, targets

__all__ = [
    "Analysis",
    "Budgets",
    "ModelError",
    "Profile",
    "Target",
    "UnknownTargetError",
    "bare_core",
    "custom_target",
    "find_target",
    "profile",
    "profile_all",
    "smallest_that_fits",
    "targets",
]

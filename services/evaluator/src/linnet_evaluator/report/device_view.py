"""What the models need on the target, as the template shows it."""

from typing import Any

from linnet.v1 import profile_pb2, training_service_pb2

from linnet_evaluator.report import words


def _bar(name: str, used: int, limit: int, fits: bool) -> dict[str, Any]:
    share = used / limit if limit else 0.0
    return {
        "name": name,
        "used": words.size(used),
        "limit": words.size(limit) if limit else "unknown",
        "percent": f"{share * 100:.1f}" if limit else "",
        "width": min(100.0, share * 100),
        "fits": fits,
    }


def _latency(found: profile_pb2.LatencyProfile) -> str:
    text = words.duration_ms(found.milliseconds)
    if found.high_milliseconds:
        low, high = found.low_milliseconds, found.high_milliseconds
        text += f" (90 %: {words.duration_ms(low)} to {words.duration_ms(high)})"
    return f"{text}, {words.BASES[found.basis]}"


def _shape(lengths: Any) -> str:
    return " x ".join(str(n) for n in lengths)


def _part(profile: profile_pb2.Profile, target: profile_pb2.Target) -> dict[str, Any]:
    word = words.VARIANTS[profile.variant]
    verdict = profile.verdict
    return {
        "variant": word,
        "figure": f"operators-{word}",
        "fits": verdict.fits,
        "reasons": list(verdict.reasons),
        "bars": [
            _bar("RAM", profile.ram.total_bytes, target.ram_bytes, verdict.ram_fits),
            _bar("flash", profile.flash.total_bytes, target.flash_bytes, verdict.flash_fits),
        ],
        "latency": _latency(profile.latency),
        "macs": f"{profile.mac_count:,}",
        "parameters": f"{profile.parameter_count:,}",
        "kernels": profile.kernels,
        "operators": [
            (
                op.index,
                op.kind,
                _shape(op.input_shape),
                _shape(op.output_shape),
                f"{op.mac_count:,}",
                words.duration_ms(op.latency_us / 1000),
                f"{op.share * 100:.1f} %",
            )
            for op in profile.operators
        ],
        "unsupported": [
            f"{op.kind} (operator {op.index}): {op.remedy}" for op in profile.unsupported
        ],
        "suggestions": [s.text for s in profile.suggestions],
    }


def device(report: training_service_pb2.Report) -> dict[str, Any] | None:
    """Make the part on the target; None without profiles."""
    if not report.profiles:
        return None
    target = report.target
    clock = f"{target.clock_hz / 1e6:.0f} MHz" if target.clock_hz else ""
    return {
        "target": target.display_name or target.id or report.profiles[0].target,
        "facts": ", ".join(filter(None, (target.core, clock))),
        "parts": [_part(profile, target) for profile in report.profiles],
    }

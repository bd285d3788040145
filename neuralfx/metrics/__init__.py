"""Measures of how far an estimate is from its target: functions and torchmetrics classes."""

from neuralfx.metrics.esr import ErrorToSignalRatio, error_to_signal_ratio

__all__ = ["ErrorToSignalRatio", "error_to_signal_ratio"]

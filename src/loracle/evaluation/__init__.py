"""Metrics, intervals and paired tests: pure functions over arrays."""

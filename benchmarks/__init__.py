"""Benchmarks: ``python -m benchmarks`` prints a table, asv tracks the history."""

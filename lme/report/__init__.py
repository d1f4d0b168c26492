"""Summaries, tables and figures of estimated models."""

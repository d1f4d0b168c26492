"""Replicates of a fit, drawn, refitted and summarised."""

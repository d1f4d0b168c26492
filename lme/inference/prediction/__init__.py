"""Rows of the fit and new ones: means, intervals, simulated responses."""

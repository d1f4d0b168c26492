"""Shares of variance, collinearity, and regressions within groups."""

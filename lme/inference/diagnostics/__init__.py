"""Residuals, leverage, influence, and a report on assumptions."""

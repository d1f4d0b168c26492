"""Covariances of the fixed effects that are robust to a wrong model of the rows."""

"""Functions of an estimated model: estimates, tests, comparisons.

Every function reads a `lme.fit.Fit` and computes; none changes it. Results that
carry structure (variance components, random effects, comparisons) are frozen
records with a readable ``repr``.
"""

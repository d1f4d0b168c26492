"""Tests of the fixed effects: hypotheses, degrees of freedom, tables of terms."""

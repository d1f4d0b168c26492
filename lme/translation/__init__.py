"""What a ``MixedLM`` of statsmodels says, in the terms of this package.

`terms` takes its random effects apart; `formulas` finds a formula that gives the same
matrices. `lme.migration` puts them together.
"""

"""The acceptance scenarios of the founding documents, a test each, by number.

The numbers are those of section E of the feature list: cases from the test suites of
lme4 and MixedModels.jl. Where our answer differs on purpose the test says why.
"""

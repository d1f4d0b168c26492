"""Fits as JSON files that hold no data and run no code.

`document` reads and writes JSON with every value checked, `fingerprints` recognises
data again, `description` turns a result into a document, and `evaluation` makes the
record of a fit at stored parameters. `lme.restoration` puts them together for users.
"""

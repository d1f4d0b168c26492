"""The classes users touch after a fit: thin, a method calls a function of the record.

`contract` stands on statsmodels; each part beside it (`estimation`, `hypotheses`,
`intervals`, ...) adds the methods of one subject; `mixed` puts the parts together, and
`linear` and `generalized` add what only one kind of model has.
"""

from lme.results.generalized import GLMMResults, GLMMResultsWrapper
from lme.results.linear import LMMResults, LMMResultsWrapper
from lme.results.mixed import MixedResults

__all__ = [
    "GLMMResults",
    "GLMMResultsWrapper",
    "LMMResults",
    "LMMResultsWrapper",
    "MixedResults",
]

"""Covariance structures of one random-effects term.

A structure maps a parameter vector ``theta`` to a relative covariance factor
``lambda`` of one term, a ``p x p`` matrix on the scale "standard deviation of the
random effect / residual standard deviation", so that ``Var(b) = sigma^2 lambda
lambda'`` for the random effects ``b`` of one level.

The engine needs the factor, its Jacobian, a start, and which changes of basis of the
term's columns the structure survives (``basis``); reports need names and what the
parameters stand for (``natural``). A new structure is one class here and one row in
`STRUCTURES`.
"""

from lme.covariance.linear import Diagonal, EqualVariances, Unstructured
from lme.covariance.patterned import Autoregressive, CompoundSymmetry, Toeplitz
from lme.covariance.protocol import Structure

STRUCTURES: dict[str, Structure] = {
    "us": Unstructured(),
    "diag": Diagonal(),
    "homdiag": EqualVariances(),
    "cs": CompoundSymmetry(equal=False),
    "homcs": CompoundSymmetry(equal=True),
    "ar1": Autoregressive(equal=True),
    "hetar1": Autoregressive(equal=False),
    "toep": Toeplitz(equal=False),
    "homtoep": Toeplitz(equal=True),
}

__all__ = [
    "STRUCTURES",
    "Autoregressive",
    "CompoundSymmetry",
    "Diagonal",
    "EqualVariances",
    "Structure",
    "Toeplitz",
    "Unstructured",
]

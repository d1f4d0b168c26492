"""Penalized least squares on arrays: the criterion and its exact gradient.

Data flow inside the folder: `relcov` (terms -> grouping factors and the template of
Lambda), `crossproducts` (one pass over the rows), a kernel (`blocked` or `cholmod`:
factor, solve, adjoint), `lmm` (criterion, gradient, Hessian model).
"""

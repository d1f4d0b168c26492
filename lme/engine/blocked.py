"""Block elimination: factors in batch while they can be, the rest dense.

The grouping factor with the most random effects is eliminated one level at a time,
all levels at once (`numerics`, section 2). Factors in which it is nested stay block
diagonal and follow in the same way when they are large; what remains is dense. The
adjoint runs the same steps backwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.engine.coupling import (
    DenseCoupling,
    SparseCoupling,
    TurnedCoupling,
    batched_product,
    couple,
    sum_products,
)
from lme.engine.crossproducts import CrossProducts, by_rows
from lme.engine.dense import DenseStage, symmetric_from_lower
from lme.engine.kernel import Schur
from lme.engine.rotation import Rotation
from lme.engine.stages import (
    Stage,
    backward,
    eliminate,
    pass_on,
    quadratic,
    segment,
    sigma_adjoint,
)

Array = NDArray[np.float64]

#: Columns left to the dense stage from which a nested factor is worth a stage: when
#: dense columns remain beside the chain, and when none do.
_CHAIN_FROM = 300
_NESTED_FROM = 60
#: Entries that a product of a batched factor with dense columns may have at a time.
_MIXED_ENTRIES = 4_000_000


class Blocked:
    """Kernel by block elimination; pure NumPy and SciPy.

    Parameters
    ----------
    cross : CrossProducts
    """

    name = "blocked"

    def __init__(self, cross: CrossProducts) -> None:
        self.chain, self.rest = plan(cross)
        self.cross = cross
        self.dense = DenseStage(cross, self.rest) if self.rest else None
        self._couplings = [self._couple(f) for f in self.chain]
        self._links = self._find_links()
        self.stages = self._fresh()

    def load(self, cross: CrossProducts) -> None:
        """Take other values on the same pattern."""
        self.cross = cross
        if self.dense is not None:
            self.dense.load(cross)
        for i, f in enumerate(self.chain):
            coupling = self._couplings[i]
            if coupling is not None:
                coupling.refill([cross.between(f, g) for g in self.rest])
        self.stages = self._fresh()

    def _couple(self, f: int) -> DenseCoupling | SparseCoupling | None:
        if self.dense is None:
            return None
        pairs = [self.cross.between(f, g) for g in self.rest]
        if self.dense.rotation is not None:
            return TurnedCoupling(pairs, self.dense.rotation.halves)
        return couple(
            pairs,
            self.dense.offsets,
            self.cross.levels[f],
            self.cross.widths[f],
            self.dense.m,
            dense=len(self.chain) > 1,
        )

    def _find_links(
        self,
    ) -> list[dict[int, tuple[NDArray[np.intp], NDArray[np.intp], sparse.csr_matrix]]]:
        """For each stage and each later one: order of the pairs, parents, sums."""
        out = []
        for i, f in enumerate(self.chain):
            links = {}
            for j in range(i + 1, len(self.chain)):
                pair = self.cross.between(f, self.chain[j])
                # Every level has one parent: by level, the pairs are the parents.
                order = np.argsort(pair.rows)
                parents, count = pair.cols[order], pair.rows.size
                link = sparse.csr_matrix(
                    (np.ones(count), (parents, np.arange(count))),
                    shape=(self.cross.levels[self.chain[j]], count),
                )
                links[j] = (order, parents, link)
            out.append(links)
        return out

    def _fresh(self) -> list[Stage]:
        """Stages with the cross-products before any elimination."""
        out = []
        for i, f in enumerate(self.chain):
            links = self._links[i]
            blocks = {
                j: self.cross.between(f, self.chain[j]).blocks[order]
                for j, (order, _, _) in links.items()
            }
            out.append(
                Stage(
                    f,
                    {j: link for j, (_, _, link) in links.items()},
                    {j: parents for j, (_, parents, _) in links.items()},
                    self.cross.diagonal[f],
                    self.cross.dense[f],
                    np.empty(0),
                    np.empty(0),
                    self._couplings[i],
                    blocks,
                )
            )
        return out

    def factor(self, lambdas: Sequence[Array]) -> Schur | None:
        """Factor ``M`` at the given factors; None when it is not finite."""
        logdet = 0.0
        XX = self.cross.gram
        dense = self.dense
        RX: Array = np.empty((0, 0))
        RR = RX
        if dense is not None:
            RX, RR = dense.columns, dense.gram
        if len(self.chain) > 1:
            # Later stages of a chain change; a single one never does.
            self.stages = self._fresh()
        for i, stage in enumerate(self.stages):
            part, stage.C = eliminate(stage.A, lambdas[stage.factor])
            logdet += part
            turned = stage.C.transpose(0, 2, 1)
            stage.P = batched_product(turned, stage.C)
            CX = batched_product(stage.C, stage.X)
            PX = batched_product(turned, CX)
            XX = XX - sum_products(CX, CX)
            if stage.B is not None:
                RX = RX - stage.B.left(PX)
                RR = RR - stage.B.update(stage.P)
            if stage.W:
                pass_on(self.stages, i, PX)
        if not np.isfinite(logdet):
            return None
        if dense is not None:
            result = dense.factor(RR, RX, [lambdas[g] for g in self.rest])
            if result is None:
                return None
            logdet, XX = logdet + result[0], XX - result[1]
        return Schur(logdet, XX)

    def adjoint(self, weights: Array) -> list[Array]:
        """Per factor ``Q`` with ``d(log|M| + <weights, matrix>) = <Q, d Sigma>``.

        Notes
        -----
        A batched factor has ``Q = sum_j R_j Pbar_j R_j' + R_j A_j`` with
        ``R_j = I - A_j P_j``: nothing divides by lambda (`numerics`, section 3).
        """
        out: dict[int, Array] = {}
        RRbar = RXbar = None
        if self.dense is not None:
            parts, RRbar, RXbar = self.dense.adjoint(weights)
            out.update(zip(self.rest, parts, strict=True))
        for stage, Pbar in self._backward(weights, RXbar, RRbar):
            out[stage.factor] = sigma_adjoint(stage.A, stage.P, Pbar)
        return [out[f] for f in range(len(self.cross.levels))]

    def _backward(
        self, XXbar: Array, RXbar: Array | None, RRbar: Array | None
    ) -> list[tuple[Stage, Array]]:
        if len(self.stages) == 1:
            stage = self.stages[0]
            return [(stage, quadratic(stage, XXbar, RXbar, RRbar))]
        return backward(self.stages, XXbar, RXbar, RRbar)[0]

    def inverse(self) -> tuple[list[Array], dict[tuple[int, int], Array]]:
        """``Lambda M^-1 Lambda'`` where A has entries: by level, by pair of levels.

        Returns
        -------
        diagonal : list of (l, p, p) arrays
        pairs : dict of (f, g) with f < g to (m, p_f, p_g) arrays
            In the order of the pairs of the cross-products.
        """
        px = len(self.cross.gram)
        diagonal: dict[int, Array] = {}
        full = RXbar = None
        if self.dense is not None:
            parts, lower = self.dense.blocks()
            full = symmetric_from_lower(lower)
            RXbar = np.zeros((self.dense.m, px))
            diagonal.update(zip(self.rest, parts, strict=True))
        links: dict[tuple[int, int], Array] = {}
        mixed: dict[int, Array] = {}
        if len(self.stages) == 1:
            stage = self.stages[0]
            Pbar = quadratic(stage, np.zeros((px, px)), RXbar, full)
            diagonal[stage.factor] = stage.P - stage.P @ Pbar @ stage.P
        else:
            _, diag, links, mixed = backward(
                self.stages, np.zeros((px, px)), RXbar, full
            )
            diagonal.update(
                (stage.factor, diag[i]) for i, stage in enumerate(self.stages)
            )
        across = full
        if self.dense is not None and self.dense.rotation is not None:
            across, full, mixed = self._by_level(self.dense.rotation, full, mixed)
        pairs = {
            (f, g): self._pair_inverse(f, g, full, across, links, mixed)
            for f, g in self.cross.pairs
        }
        return [diagonal[f] for f in range(len(self.cross.levels))], pairs

    def _by_level(
        self, rotation: Rotation, full: Array | None, mixed: dict[int, Array]
    ) -> tuple[Array | None, Array | None, dict[int, Array]]:
        """The dense part of the inverse with its columns, and rows too, by level."""
        if full is None or not self.cross.pairs:
            return full, full, mixed
        across = rotation.back(full).T
        blocks = {
            i: rotation.back(by_rows(block).T).T.reshape(*block.shape[:2], -1)
            for i, block in mixed.items()
        }
        return across, rotation.back(across), blocks

    def _pair_inverse(
        self,
        f: int,
        g: int,
        full: Array | None,
        across: Array | None,
        links: dict[tuple[int, int], Array],
        mixed: dict[int, Array],
    ) -> Array:
        """Blocks of the inverse for the observed pairs of levels of two factors."""
        pair = self.cross.pairs[f, g]
        _, p, width = pair.blocks.shape
        if f in self.chain and g in self.chain:
            i, j = self.chain.index(f), self.chain.index(g)
            if i < j:
                return links[i, j][pair.rows]
            return links[j, i][pair.cols].transpose(0, 2, 1)
        if self.dense is None or full is None or across is None:
            raise ValueError("A factor is neither batched nor dense.")
        offsets = (self.dense.rotation or self.dense).offsets
        starts = dict(zip(self.rest, offsets, strict=True))
        if f in self.chain:
            at = pair.rows, pair.cols, starts[g], width
            return self._mixed(f, *at, across, mixed)
        rows = starts[f] + pair.rows[:, None] * p + np.arange(p)
        if g in self.chain:
            block = self._mixed(g, pair.cols, pair.rows, starts[f], p, across, mixed)
            return block.transpose(0, 2, 1)
        columns = starts[g] + pair.cols[:, None] * width + np.arange(width)
        blocks: Array = full[rows[:, :, None], columns[:, None, :]]
        return blocks

    def _mixed(
        self,
        f: int,
        batched: NDArray[np.intp],
        levels: NDArray[np.intp],
        start: int,
        width: int,
        full: Array,
        mixed: dict[int, Array],
    ) -> Array:
        """Blocks of the inverse for pairs of a batched and a dense factor's levels.

        ``-P_j B_j K`` with K the inverse of the dense part; without a chain only some
        columns of it at a time, as all of them can be far more than there are pairs.
        """
        place = np.arange(width)
        if len(self.stages) > 1:
            block = mixed[self.chain.index(f)]
            columns = start + levels[:, None] * width + place
            return block[batched[:, None], :, columns].transpose(0, 2, 1)
        stage = self.stages[0]
        if stage.B is None:
            raise ValueError("A batched factor is not coupled to a dense one.")
        count, p, _ = stage.P.shape
        out = np.empty((levels.size, p, width))
        order = np.argsort(levels, kind="stable")
        step = max(1, _MIXED_ENTRIES // (count * p * width))
        top = int(levels.max(initial=-1)) + 1
        for first in range(0, top, step):
            last = min(first + step, top)
            ends = np.searchsorted(levels[order], [first, last])
            some = order[slice(*ends)]
            chunk = slice(start + first * width, start + last * width)
            block = batched_product(stage.P, stage.B.right(full[:, chunk]))
            columns = (levels[some, None] - first) * width + place
            out[some] = -block[batched[some, None], :, columns].transpose(0, 2, 1)
        return out

    def solve(self, rhs: Sequence[Array]) -> list[Array]:
        """``Lambda M^-1 Lambda' r`` for r given per factor as (l, p, r) arrays."""
        work = [np.array(r) for r in rhs]
        columns = rhs[0].shape[2]
        rest = b = np.empty((0, columns))
        if self.dense is not None:
            rest = np.vstack([rhs[g].reshape(-1, columns) for g in self.rest])
            rest = self.dense.enter(rest)
        for stage in self.stages:
            g = batched_product(stage.P, work[stage.factor])
            if stage.B is not None:
                rest = rest - stage.B.left(g)
            for j, W in stage.W.items():
                change = W.transpose(0, 2, 1) @ g
                work[self.stages[j].factor] -= segment(stage.links[j], change)
        out = list(work)
        if self.dense is not None:
            b = self.dense.solve(rest)
            found = self.dense.leave(b, [rhs[f] for f in self.rest])
            for f, part in zip(self.rest, found, strict=True):
                out[f] = part
        for stage in reversed(self.stages):
            r = work[stage.factor]
            if stage.B is not None:
                r = r - stage.B.right(b)
            for j, W in stage.W.items():
                r = r - W @ out[self.stages[j].factor][stage.parents[j]]
            out[stage.factor] = batched_product(stage.P, r)
        return out

    def blocks(self) -> list[Array]:
        """Diagonal blocks of ``Lambda M^-1 Lambda'`` per factor, (l, p, p)."""
        out: dict[int, Array] = {}
        px = len(self.cross.gram)
        RRbar = RXbar = None
        if self.dense is not None:
            parts, RRbar = self.dense.blocks()
            RXbar = np.zeros((self.dense.m, px))
            out.update(zip(self.rest, parts, strict=True))
        for stage, Pbar in self._backward(np.zeros((px, px)), RXbar, RRbar):
            out[stage.factor] = stage.P - stage.P @ Pbar @ stage.P
        return [out[f] for f in range(len(self.cross.levels))]


def plan(cross: CrossProducts) -> tuple[list[int], list[int]]:
    """Factors to eliminate in batch, in order, and factors left dense.

    Levels with a known covariance depend on one another, and are always left dense.
    """
    every = range(len(cross.levels))
    turned = [f for f in every if cross.relation(f) is not None]
    order = sorted(set(every).difference(turned), key=lambda f: -cross.sizes[f])
    if not order:
        return [], turned
    chain, rest = [order[0]], [*order[1:], *turned]
    size = sum(cross.sizes[g] for g in rest)
    if size > _NESTED_FROM:
        for g in sorted(order[1:], key=lambda f: -cross.levels[f]):
            f = chain[-1]
            nested = cross.between(f, g).rows.size == cross.levels[f]
            others = sum(cross.sizes[h] for h in rest if h != g and h not in chain)
            # Dense columns next to a chain are stored for every level of it.
            if nested and others * cross.sizes[chain[0]] <= 20_000_000:
                chain.append(g)
    left = [g for g in rest if g not in chain]
    if left and size <= _CHAIN_FROM:
        return chain[:1], rest
    return chain, left

"""Least squares with delayed signals: Gram matrices whose blocks are Toeplitz, and their solution.

The Gram matrix of all delays of all signals is symmetric, so only the blocks on and below its
diagonal are kept, half of it, and its Cholesky factor takes their place.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

#: Added to the diagonal, as BSSEval v4 does.
EPSILON = torch.finfo(torch.float64).eps

#: Shares of the largest diagonal entry that are added in turn where rounding has left the
#: matrix indefinite: signals that repeat each other, such as mono in two channels.
RIDGES = (0.0, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10)

#: Steps that bring the smallest eigenvalue within a few per cent.
INVERSE_ITERATIONS = 3


class DelayGram:
    """The Gram matrix of ``signals`` each delayed by 0 ... ``lags`` - 1, factorised.

    ``correlations[i, j, lag]`` is the sum of ``x_i[n] x_j[n + lag]``. ``ridge`` is the share of
    the largest diagonal entry that had to be added, 0 in good order.
    """

    def __init__(self, correlations: Float64[Tensor, "signals signals lags"]) -> None:
        self._size = correlations.shape[-1]
        self._largest = float(correlations[..., 0].diagonal().max())
        for ridge in RIDGES:
            self._rows = _lower_rows(correlations)
            for row in self._rows:
                row[:, -self._size :].diagonal().add_(EPSILON + ridge * self._largest)
            if self._factorise():
                break
        else:
            raise torch.linalg.LinAlgError("the signals' correlations are not positive definite")
        self.ridge = ridge

    def solve(
        self, right: Float64[Tensor, "unknowns columns"]
    ) -> Float64[Tensor, "unknowns columns"]:
        """Return x of Gram x = ``right``, unknowns ordered by signal, then by delay."""
        x = right.clone()
        for index, row in enumerate(self._rows):
            here = self._span(index)
            x[here] -= row[:, : here.start] @ x[: here.start]
            x[here] = torch.linalg.solve_triangular(row[:, here], x[here], upper=False)
        for index, row in reversed(list(enumerate(self._rows))):
            here = self._span(index)
            x[here] = torch.linalg.solve_triangular(row[:, here].T, x[here], upper=True)
            x[: here.start] -= row[:, : here.start].T @ x[here]
        return x

    def condition(self) -> float:
        """Return about the largest diagonal entry over the smallest eigenvalue.

        By a few steps of inverse iteration, which find the eigenvalue from above.
        """
        x = torch.randn(
            len(self._rows) * self._size,
            1,
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(0),
        )
        for _ in range(INVERSE_ITERATIONS):
            x = self.solve(x / x.norm())
        return self._largest * float(x.norm())

    def _span(self, index: int) -> slice:
        return slice(index * self._size, (index + 1) * self._size)

    def _factorise(self) -> bool:
        """Put the Cholesky factor in the matrix' place, column by column of blocks."""
        for index, row in enumerate(self._rows):
            here = self._span(index)
            for below in self._rows[index:]:
                below[:, here].addmm_(below[:, : here.start], row[:, : here.start].T, alpha=-1)
            factor, failed = torch.linalg.cholesky_ex(row[:, here])
            if failed:
                return False
            row[:, here] = factor
            for below in self._rows[index + 1 :]:
                below[:, here] = torch.linalg.solve_triangular(
                    factor.T, below[:, here], upper=True, left=False
                )
        return True


def _lower_rows(correlations: Float64[Tensor, "signals signals lags"]) -> list[Tensor]:
    """Return the rows of blocks up to the diagonal: (lags, (index + 1) lags) each."""
    return [
        torch.cat([_toeplitz(correlations[i, j], correlations[j, i]) for j in range(i + 1)], dim=1)
        for i in range(len(correlations))
    ]


def _toeplitz(
    down: Float64[Tensor, " lags"], across: Float64[Tensor, " lags"]
) -> Float64[Tensor, "lags lags"]:
    """Return T[a, b] = down[a - b] on and below the diagonal, across[b - a] above it."""
    diagonals = torch.cat([down.flip(0), across[1:]])
    return diagonals.unfold(0, len(down), 1).flip(0)

"""What is kept of a result."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from statsmodels.iolib.smpickle import save_pickle

from lme.errors import FitError
from lme.inference import estimates
from lme.persistence.description import describe
from lme.persistence.document import write
from lme.results.contract import Contract


class Keeping(Contract):
    """Removing data and storing fits."""

    def remove_data(self) -> None:
        """Drop everything that has a value a row, for small pickles.

        Estimates, tests, `ranef`, `coef` and `summary` still work; what needs the
        rows raises `FitError`. The model that was fitted keeps its data: the result
        gets a copy without them.
        """
        if self._is_light and not self._has_sums:
            return
        self._quantiles()
        self._denominator(self.ddf)
        self.fit_record = estimates.without_rows(self.fit_record)
        self.model = self.model.without_rows(self.fit_record.design)

    def without_data(self) -> Any:
        """A copy without rows, as `remove_data` leaves; this result keeps its own."""
        light = copy.copy(self)
        # The caches are filled before the copy loses what fills them.
        light._cache = dict(self._cache)
        light.remove_data()
        return light

    def save(self, fname: Any, remove_data: bool = False) -> None:
        """Store the result as a pickle.

        Parameters
        ----------
        fname : str, path-like or file
            Where to.
        remove_data : bool
            Store a copy without rows, which is small. Unlike in statsmodels this
            result keeps its data.

        Raises
        ------
        FitError
            If the model holds something that cannot be pickled, such as a lambda
            function in `context`.

        See Also
        --------
        save_fit : JSON, which runs no code when it is read.
        """
        pickled(self.without_data() if remove_data else self, fname)

    def save_fit(self, path: Any, *, overwrite: bool = False) -> None:
        """Store the fit as JSON, without its data, for `lme.restore_fit`.

        Parameters
        ----------
        path : str or path-like
            The file; it appears complete or not at all.
        overwrite : bool
            Replace a file that is there.

        Raises
        ------
        OptionError
            If there is a file of this name.
        DataError
            If the file cannot be written.
        FitError
            If the result does not hold the data it was made from.
        """
        self._need_data("save_fit")
        design, frame = self.fit_record.design, self.model.data.frame
        if design.recipe is not None and frame is None:
            raise FitError(
                "The result is of another response than its data have.",
                "save_fit writes down by what the data of the fit are recognised.",
                "Put the response into the data, and fit to them.",
            )
        wanted = getattr(self, "_wanted", None)
        found = describe(self.fit_record, self.model.options, frame, wanted)
        write(path, found, overwrite=overwrite)


def pickled(result: Any, fname: Any) -> None:
    """Write a pickle, or say what cannot be pickled."""
    try:
        pickle.dumps(result)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise FitError(
            f"The result cannot be pickled: {error}.",
            "Functions in context= must be defined at the top of a module.",
            "Use save_fit, or a model without such functions.",
        ) from error
    save_pickle(result, fname)

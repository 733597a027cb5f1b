"""The loop over the cells of a dosage table: what each one says, as a small code.

Only compiled loops belong here; what codes mean for a table is `dosage_table.py`'s. Axes: R rows, C cells of a row,
F leading fields, K lines of another width.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MISSING, MINUS_ONE, UNCERTAIN, HIGH, WRONG = -1, -2, -3, -4, -5
_LINE_FEED, _RETURN, _SPACE, _QUOTE, _DOT, _PLUS, _MINUS, _ZERO, _NINE, _E, _N, _A, _SLASH = (
    ord(c) for c in '\n\r ".+-09ena/')
_TWO = ord("2")


@njit(cache=True, nogil=True)
def scan(text: np.ndarray, separator: int, code_RC: np.ndarray, field_RF2: np.ndarray, where_R2: np.ndarray,
         other_K2: np.ndarray) -> tuple[int, int, int]:
    """Codes of the cells of whole lines, each with its end.

    Parameters
    ----------
    text : uint8.
    code_RC : int8, filled: 0, 1, 2, or one of the codes above.
    field_RF2 : int64, filled: begin and end of the fields before the cells.
    where_R2 : int64, filled: number of the row's line in `text`, from 0, and where it begins.
    other_K2 : int64, filled: lines of another width, and their width.

    Returns
    -------
    Rows, lines of another width, lines.
    """
    n_leading = field_RF2.shape[1]
    width = n_leading + code_RC.shape[1]
    n_rows = n_other = n_lines = start = 0
    while start < len(text):
        end = start
        while text[end] != _LINE_FEED:
            end += 1
        stop = end - 1 if end > start and text[end - 1] == _RETURN else end
        if stop > start:
            column, at = 0, start
            while True:
                behind = _behind_field(text, at, stop, separator)
                if column < n_leading:
                    field_RF2[n_rows, column, 0] = at
                    field_RF2[n_rows, column, 1] = behind
                elif column < width:
                    code_RC[n_rows, column - n_leading] = _code(text, at, behind)
                column += 1
                if behind == stop:
                    break
                at = behind + 1
            if column == width:
                where_R2[n_rows, 0] = n_lines
                where_R2[n_rows, 1] = start
                n_rows += 1
            else:
                other_K2[n_other, 0] = n_lines
                other_K2[n_other, 1] = column
                n_other += 1
        n_lines += 1
        start = end + 1
    return n_rows, n_other, n_lines


@njit(cache=True, nogil=True)
def _behind_field(text: np.ndarray, at: int, stop: int, separator: int) -> int:
    if at < stop and text[at] == _QUOTE:
        at += 1
        while at < stop and text[at] != _QUOTE:
            at += 1
    while at < stop and text[at] != separator:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _code(text: np.ndarray, start: int, stop: int) -> int:
    while start < stop and (text[start] == _SPACE or text[start] == _QUOTE):
        start += 1
    while stop > start and (text[stop - 1] == _SPACE or text[stop - 1] == _QUOTE):
        stop -= 1
    if start == stop:
        return MISSING
    first = text[start]
    if stop - start == 1:
        if _ZERO <= first <= _TWO:
            return first - _ZERO
        if first in (_DOT, _MINUS):
            return MISSING
    if first | 32 == _N and _says_missing(text, start, stop):
        return MISSING
    return code_of_number(_number(text, start, stop))


@njit(cache=True, nogil=True)
def _says_missing(text: np.ndarray, start: int, stop: int) -> bool:
    """NA, NaN or n/a, in capitals or not."""
    if stop - start == 2:
        return text[start + 1] | 32 == _A
    second, last = text[start + 1], text[stop - 1] | 32
    return stop - start == 3 and ((second | 32 == _A and last == _N) or (second == _SLASH and last == _A))


@njit(cache=True, nogil=True)
def code_of_number(value: float) -> int:
    """The code of a dosage; NaN is no number."""
    if value == -9:
        return MISSING
    nearest = np.floor(value + 0.5)
    if not nearest >= -1:
        return WRONG
    if nearest > 2:
        return HIGH
    if abs(value - nearest) > 0.1 + 1e-6:
        return UNCERTAIN
    return MINUS_ONE if nearest < 0 else int(nearest)


@njit(cache=True, nogil=True)
def _number(text: np.ndarray, at: int, stop: int) -> float:
    """A decimal number, NaN where it is none."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    value, scale, digits, behind_dot = 0.0, 1.0, 0, False
    while at < stop and (_ZERO <= text[at] <= _NINE or (text[at] == _DOT and not behind_dot)):
        if text[at] == _DOT:
            behind_dot = True
        else:
            value = 10 * value + (text[at] - _ZERO)
            digits += 1
            scale = 10 * scale if behind_dot else scale
        at += 1
    if digits == 0:
        return np.nan
    value = (-value if negative else value) / scale
    if at == stop:
        return value
    if text[at] | 32 != _E or at + 1 == stop:
        return np.nan
    at += 1
    down = text[at] == _MINUS
    if down or text[at] == _PLUS:
        at += 1
    exponent, digits = 0, 0
    while at < stop and _ZERO <= text[at] <= _NINE and digits < 4:
        exponent, digits, at = 10 * exponent + (text[at] - _ZERO), digits + 1, at + 1
    if at < stop or digits == 0:
        return np.nan
    return value * 10.0 ** (-exponent if down else exponent)


@njit(cache=True, nogil=True)
def codes_of_numbers(value_RC: np.ndarray) -> np.ndarray:
    """`code_of_number` of each, int8 (R, C)."""
    code_RC = np.empty(value_RC.shape, dtype=np.int8)
    for row in range(value_RC.shape[0]):
        for column in range(value_RC.shape[1]):
            code_RC[row, column] = code_of_number(value_RC[row, column])
    return code_RC

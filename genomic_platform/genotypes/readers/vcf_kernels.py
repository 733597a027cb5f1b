"""Compiled loops over VCF text: records and their fields, calls straight into packed codes.

Imported inside functions only. What a status means to a person is said in `vcf.py`. A call is read once: the usual one
(four characters, `0/1` and a tab) by bit arithmetic on two at a time, which the compiler turns into vector
instructions, any other character by character. Codes are those of `packing.py`.
Axes: R records, N lines, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Status of a record.
PACKED, OTHER_ALLELES, COLUMNS, FORMAT, PLOIDY, CALL = range(6)
N_FIELDS = 9

_TAB, _LINE, _RETURN, _COLON, _COMMA, _DOT, _ZERO, _NINE = 9, 10, 13, 58, 44, 46, 48, 57
_SLASH, _BAR = 47, 124
_MISSING = np.uint8(1)
_CODE_OF_DOSAGE = np.array([3, 2, 0], dtype=np.uint8)

#: A record's row of numbers: status, number of its line in the block, half-calls, haploid calls, sample at fault,
#: columns, start of its calls, end of its line.
STATUS, LINE, HALF, HAPLOID, SAMPLE, N_COLUMNS, CALLS, END = range(8)


# Two calls fill a 64-bit word: alleles in bytes 0, 2, 4, 6, separators in 1 and 5, tabs in 3 and 7.
_ALLELES, _ALL_ZERO = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0030003000300030)
_SEPARATORS, _ALL_SLASH = np.uint64(0x0000FF000000FF00), np.uint64(0x00002F0000002F00)
_TABS, _ALL_TAB = np.uint64(0xFF000000FF000000), np.uint64(0x0900000009000000)
_ALLELE_BIT, _SEPARATOR_BIT = np.uint64(0x0001000100010001), np.uint64(0x0000010000000100)
_CALL_BIT = np.uint64(0x0000000100000001)


@njit(cache=True, nogil=True)
def _pair(word: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Codes of two calls in bits 0–3, bits that are set where a character is wrong, half-calls in bits 0 and 32.

    '0' and '1' less '0' are 0 and 1; '.' less '0' (exclusive or) is 0x1e, whose bit 4 no digit has. A separator is '/',
    or '|', which differs from it in bits 0, 1, 4 and 6.
    """
    allele = (word & _ALLELES) ^ _ALL_ZERO
    dot = (allele >> np.uint64(4)) & _ALLELE_BIT
    wrong = (allele ^ (dot << np.uint64(1) | dot << np.uint64(2) | dot << np.uint64(3) | dot << np.uint64(4)))
    wrong = (wrong & ~_ALLELE_BIT) | (allele & dot)
    separator = (word & _SEPARATORS) ^ _ALL_SLASH
    bar = (separator >> np.uint64(6)) & _SEPARATOR_BIT
    wrong |= separator ^ (bar | bar << np.uint64(1) | bar << np.uint64(4) | bar << np.uint64(6))
    wrong |= (word & _TABS) ^ _ALL_TAB
    first, second = allele & _CALL_BIT, (allele >> np.uint64(16)) & _CALL_BIT
    no_first, no_second = dot & _CALL_BIT, (dot >> np.uint64(16)) & _CALL_BIT
    missing = no_first | no_second
    low = missing | (~(first | second) & _CALL_BIT)  # dosage 0, 1, 2 → 11, 10, 00; missing → 01
    high = ~(first & second) & ~missing & _CALL_BIT
    codes = low | high << np.uint64(1)
    return codes | codes >> np.uint64(30), wrong, no_first ^ no_second


@njit(cache=True, nogil=True)
def _pack_plain(text: np.ndarray, n_lines: int, nibbles: np.ndarray, packed_B: np.ndarray) -> int:
    """Pack calls that are four characters each, the last one without a tab; −1 when one is not so, else half-calls.

    `nibbles` : uint8 (2 B,), scratch.
    """
    pairs = (n_lines - 1) // 2
    words = text[: 8 * pairs].view(np.uint64)
    wrong, half = np.uint64(0), np.uint64(0)
    for i in range(pairs):
        codes, fault, halves = _pair(words[i])
        nibbles[i] = np.uint8(codes & np.uint64(15))
        wrong |= fault
        half += halves
    last = np.uint64(0)
    for k in range(8):  # the last one or two calls, filled up with what reads as a call and does not count
        p = 8 * pairs + k
        inside = p < 4 * n_lines - 1
        filler = np.uint64((_ALL_ZERO | _ALL_SLASH | _ALL_TAB) >> np.uint64(8 * k)) & np.uint64(255)
        last |= (np.uint64(text[p]) if inside else filler) << np.uint64(8 * k)
    codes, fault, halves = _pair(last)
    keep = np.uint64(15) if n_lines - 2 * pairs == 2 else np.uint64(3)
    nibbles[pairs] = np.uint8(codes & keep)
    wrong |= fault
    half += halves
    nibbles[pairs + 1 :] = 0
    if wrong:
        return -1
    for b, two in enumerate(nibbles.view(np.uint16)):
        packed_B[b] = np.uint8((two | two >> np.uint16(4)) & np.uint16(255))
    return int((half & np.uint64(0xFFFFFFFF)) + (half >> np.uint64(32)))


@njit(cache=True, nogil=True)
def _pack_codes(codes_N: np.ndarray, packed_B: np.ndarray) -> None:
    words_B = codes_N.view(np.uint32)
    for b in range(len(packed_B)):
        word = words_B[b]
        packed_B[b] = np.uint8((word | word >> np.uint32(6) | word >> np.uint32(12) | word >> np.uint32(18))
                               & np.uint32(0xFF))


@njit(cache=True, nogil=True)
def decode_calls(text: np.ndarray, start: int, end: int, n_lines: int, counted: int, n_alleles: int,
                 codes_N: np.ndarray, record: np.ndarray) -> None:
    """Calls of one record, of any width, with any keys after GT, into codes of the dosage of allele `counted`."""
    record[STATUS], record[HALF], record[HAPLOID], record[SAMPLE] = PACKED, 0, 0, -1
    p, sample = start, 0
    while sample < n_lines:
        dosage, missing, alleles = 0, 0, 0
        while True:  # one allele after another
            if p < end and text[p] == _DOT:
                missing += 1
                p += 1
            else:
                allele, digits = 0, 0
                while p < end and _ZERO <= text[p] <= _NINE and digits < 6:
                    allele = 10 * allele + text[p] - _ZERO
                    p += 1
                    digits += 1
                if digits == 0 or allele >= n_alleles:
                    record[STATUS], record[SAMPLE] = CALL, sample
                    return
                dosage += allele == counted
            alleles += 1
            if p < end and (text[p] == _SLASH or text[p] == _BAR):
                p += 1
            else:
                break
        if p < end and text[p] != _TAB and text[p] != _COLON:
            record[STATUS], record[SAMPLE] = CALL, sample
            return
        if alleles > 2:
            record[STATUS], record[SAMPLE] = PLOIDY, sample
            return
        while p < end and text[p] != _TAB:
            p += 1
        p += 1
        if alleles == 1:
            dosage *= 2
            record[HAPLOID] += missing == 0
        record[HALF] += missing == 1 and alleles == 2
        codes_N[sample] = _MISSING if missing else _CODE_OF_DOSAGE[dosage]
        sample += 1


@njit(cache=True, nogil=True)
def scan(text: np.ndarray, n_lines: int, fields_RF: np.ndarray, position_R: np.ndarray, record_RK: np.ndarray,
         packed_RB: np.ndarray) -> tuple[int, int]:
    """Every record of a block of whole lines: where its fields end, its position, its calls.

    Returns the number of records, −1 when there are more than R, and the number of lines.

    Parameters
    ----------
    text : uint8, lines with their ends.
    fields_RF : int64 (R, N_FIELDS + 1), set to the start of each of the first nine fields and of the calls.
    position_R : int64 (R,), −1 where POS is no whole number of up to twelve digits.
    record_RK : int64 (R, 8), the numbers named above.
    packed_RB : uint8 (R, B), calls of records whose status is PACKED.
    """
    codes_N = np.zeros(4 * packed_RB.shape[1], dtype=np.uint8)
    nibbles = np.zeros(2 * packed_RB.shape[1], dtype=np.uint8)
    p, size, n_records, line = 0, len(text), 0, -1
    while p < size:
        line += 1
        if text[p] == _LINE or (text[p] == _RETURN and text[p + 1] == _LINE):
            p += 1 + (text[p] == _RETURN)
            continue
        r = n_records
        if r == len(packed_RB):
            return -1, line
        n_records += 1
        record, fields = record_RK[r], fields_RF[r]
        record[:] = 0
        record[LINE], record[SAMPLE] = line, -1
        fields[0] = p
        field = 1
        while field <= N_FIELDS and text[p] != _LINE:
            if text[p] == _TAB:
                fields[field] = p + 1
                field += 1
            p += 1
        calls = p
        record[CALLS] = calls
        form, several = fields[8], False
        if field > N_FIELDS:
            for q in range(fields[4], fields[5]):
                several |= text[q] == _COMMA
            gt = text[form] == 71 and text[form + 1] == 84
            after = text[form + 2]
            end = calls + 4 * n_lines - 1
            if gt and after == _TAB and not several and end < size and (text[end] == _LINE or text[end] == _RETURN):
                half = _pack_plain(text[calls:], n_lines, nibbles, packed_RB[r])
                if half >= 0 and (text[end] == _LINE or text[end + 1] == _LINE):
                    record[HALF], record[END], record[N_COLUMNS] = half, end, N_FIELDS + n_lines
                    p = end + 1 + (text[end] == _RETURN)
                    position_R[r] = _whole_number(text, fields[1], fields[2] - 1)
                    continue
        columns = field
        while text[p] != _LINE:
            columns += text[p] == _TAB
            p += 1
        end = p - (p > 0 and text[p - 1] == _RETURN)
        p += 1
        record[END], record[N_COLUMNS] = end, columns
        if columns != N_FIELDS + n_lines:
            record[STATUS] = COLUMNS
            continue
        position_R[r] = _whole_number(text, fields[1], fields[2] - 1)
        if not (text[form] == 71 and text[form + 1] == 84 and (text[form + 2] == _TAB or text[form + 2] == _COLON)):
            record[STATUS] = FORMAT
        elif several:
            record[STATUS] = OTHER_ALLELES
        else:
            decode_calls(text, calls, end, n_lines, 1, 2, codes_N, record)
            _pack_codes(codes_N, packed_RB[r])
    return n_records, line + 1


@njit(cache=True, nogil=True)
def pack_codes(codes_N: np.ndarray, packed_B: np.ndarray) -> None:
    """Codes of a record (padded to four with 0) into its packed bytes."""
    _pack_codes(codes_N, packed_B)


@njit(cache=True, nogil=True)
def _whole_number(text: np.ndarray, start: int, end: int) -> int:
    number = 0
    if not 0 < end - start <= 12:
        return -1
    for p in range(start, end):
        if not _ZERO <= text[p] <= _NINE:
            return -1
        number = 10 * number + text[p] - _ZERO
    return number


@njit(cache=True, nogil=True)
def gather(text: np.ndarray, start_R: np.ndarray, offset_R: np.ndarray, out: np.ndarray) -> bool:
    """Copy one field of every record into `out` from `offset_R` to the next offset; whether all of it is ASCII."""
    seen = np.uint8(0)
    for r in range(len(start_R)):
        p = start_R[r]
        for at in range(offset_R[r], offset_R[r + 1]):
            out[at] = text[p]
            seen |= text[p]
            p += 1
    return bool(seen < 128)

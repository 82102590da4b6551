"""A workbook read against a serializer: rows that can all be saved, or every fault with row and column."""

import zipfile
from dataclasses import dataclass
from typing import BinaryIO

from openpyxl import load_workbook
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException
from rest_framework.serializers import ModelSerializer

MAX_ROWS = 5_000
MAX_UNPACKED = 64 * 1024 * 1024  # bytes; a workbook is a zip file, and a small one can unpack to gigabytes


@dataclass(frozen=True)
class Fault:
    row: int | None
    column: str | None  # the letter that the spreadsheet shows
    field: str | None
    message: str


class WorkbookError(Exception):
    """The workbook cannot be imported; `faults` says why."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__(f"{len(faults)} faults")


def read(file: BinaryIO, serializer: type[ModelSerializer], *, key: str) -> list[dict]:
    """The first sheet's rows, validated. Its first row names fields of `serializer`; `key` is unique in it.

    Raises `WorkbookError` with every fault found.
    """
    header, *rows = _cells(file)
    fields = {name: field for name, field in serializer().fields.items() if not field.read_only}
    required = [name for name, field in fields.items() if field.required]
    columns = _columns(header, list(fields), required=required)

    faults: list[Fault] = []
    valid: list[dict] = []
    first_seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        cells = {name: row[index] for name, index in columns.items() if index < len(row)}
        # Empty cells are left out: an optional field then has its default, a required one says it is missing.
        values = {name: cell for name, cell in cells.items() if cell not in (None, "")}
        if not values:
            continue
        candidate = serializer(data=values)
        if candidate.is_valid():
            valid.append(candidate.validated_data)
        for name, messages in candidate.errors.items():
            faults += [Fault(number, _letter(columns, name), name, str(message)) for message in messages]
        if key in values:
            earlier = first_seen.setdefault(str(values[key]).strip(), number)
            if earlier != number:
                faults.append(Fault(number, _letter(columns, key), key, f"The same as in row {earlier}."))
    if not valid and not faults:
        faults.append(Fault(None, None, None, "The sheet has no rows."))
    if faults:
        raise WorkbookError(*faults)
    return valid


def _cells(file: BinaryIO) -> list[tuple]:
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
                raise WorkbookError(Fault(None, None, None, "The workbook is too big."))
        file.seek(0)
        sheet = load_workbook(file, read_only=True, data_only=True).worksheets[0]
        rows = []
        for row in sheet.iter_rows(values_only=True):
            if len(rows) > MAX_ROWS:
                raise WorkbookError(Fault(None, None, None, f"The sheet has more than {MAX_ROWS} rows."))
            rows.append(row)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, IndexError, ValueError, OSError):
        raise WorkbookError(Fault(None, None, None, "Not an Excel workbook (.xlsx).")) from None
    return rows or [()]


def _columns(header: tuple, fields: list[str], *, required: list[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    faults: list[Fault] = []
    for index, title in enumerate(header):
        if title is None:
            continue
        name = str(title).strip().lower()
        if name not in fields:
            message = f'Unknown column "{title}"; known are {", ".join(fields)}.'
            faults.append(Fault(1, get_column_letter(index + 1), None, message))
        elif name in columns:
            faults.append(Fault(1, get_column_letter(index + 1), name, "This column comes twice."))
        else:
            columns[name] = index
    faults += [Fault(1, None, name, "This column is missing.") for name in required if name not in columns]
    if faults:
        raise WorkbookError(*faults)
    return columns


def _letter(columns: dict[str, int], name: str) -> str | None:
    return get_column_letter(columns[name] + 1) if name in columns else None

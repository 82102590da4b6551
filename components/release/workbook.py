"""A table of a scenario as an Excel workbook."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date

from openpyxl import Workbook
from openpyxl.utils.exceptions import IllegalCharacterError

from components.release.scenario import Cell, Date

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def write(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bytes:
    """An .xlsx file with one sheet: the titles, then the rows. Text stays text, even "=1".

    Raises `ValueError` for a cell that no workbook can have.
    """
    book = Workbook()
    sheet = book.worksheets[0]
    for number, row in enumerate((columns, *rows), start=1):
        for position, value in enumerate(row, start=1):
            content = date.fromisoformat(value.date) if isinstance(value, Date) else value
            try:
                cell = sheet.cell(number, position, content)
            except IllegalCharacterError:
                raise ValueError(f"row {number} has a character that no workbook can have") from None
            if isinstance(value, str):
                cell.data_type = "s"  # openpyxl takes text that begins with = for a formula
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()

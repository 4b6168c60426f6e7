"""Layout of the managers' answers in a workbook: written by `reports/workbook/workbook.py`, read by `renewals collect`.

A hidden sheet states which list the workbook shows, which columns of each manager's sheet hold the answers, and the
codes of the options in the drop-downs. All its cells are text. On a manager's sheet the accounts follow the header;
there may be notices above the header.
"""

from __future__ import annotations

LAYOUT_VERSION = "2"
"""Version of this layout; changed whenever the layout changes."""
LAYOUT_VERSIONS = ("1", LAYOUT_VERSION)
"""Versions that can be read. Version 1 has no notices: its headers are always in row 1."""
HIDDEN_SHEET = "renewals"
"""Title of the hidden sheet."""
VERDICT_CODES = ("renews", "lost", "unsure")
"""Codes of a manager's verdicts on a renewal."""
ANSWER_COLUMNS = ("verdict", "action", "started_on", "note")
"""Columns that a manager fills in: a verdict, a playbook, the day on which it started, and a note."""
METADATA_ROWS = {"format": 1, "as_of": 2, "key": 3, "language": 4, "header": 5}
"""Rows of the hidden sheet with data of the list: the name in column A, the text in column B. `as_of` is an ISO date,
`key` the fingerprint in the list's manifest, `header` the row of the header on every manager's sheet."""
TABLES_HEADER_ROW = 6
"""Row of the hidden sheet with the headings of its three tables; their rows follow."""
SHEET_TABLE_COLUMNS = ("sheet", "csm", "account_id", *ANSWER_COLUMNS)
"""Columns of the first table, from column A; one row per manager's sheet: its title, the manager as in the list (empty
for accounts without a manager), and the letters of the columns with the account ids and the answers."""
VERDICT_TABLE_COLUMNS = ("J", "K")
"""Columns of the second table: the text of a verdict, and its code."""
ACTION_TABLE_COLUMNS = ("M", "N")
"""Columns of the third table: the name of a playbook, and its id in the library."""
EXACT_INTEGER_LIMIT = 10**15
"""From this number on a spreadsheet keeps only the first 15 digits, so ids this large are written as text."""

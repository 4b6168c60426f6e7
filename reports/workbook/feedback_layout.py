"""Where the answers of managers stand in a workbook: written by `reports/workbook/workbook.py`, read back by `renewals
collect`.

A hidden sheet says which list the workbook is, in which columns of each manager's sheet the answers stand, and what the
words to choose from mean. All its cells are text. On a manager's sheet the accounts follow the header, above which
notices may stand.
"""

from __future__ import annotations

LAYOUT_VERSION = "2"
"""Of this layout: another number is another layout."""
LAYOUT_VERSIONS = ("1", LAYOUT_VERSION)
"""The layouts that are read: in the first no notices stood above the headers, which were row 1."""
HIDDEN_SHEET = "renewals"
"""The title of the hidden sheet."""
VERDICT_CODES = ("renews", "lost", "unsure")
"""What a manager may hold of a renewal."""
ANSWER_COLUMNS = ("verdict", "action", "started_on", "note")
"""The columns that a manager fills in: a verdict, a play, the day it was begun, and what else is to be said."""
METADATA_ROWS = {"format": 1, "as_of": 2, "key": 3, "language": 4, "header": 5}
"""What the hidden sheet says of the list, each in its row: the name in column A, the text in column B. `as_of` is an
ISO day, `key` that of the list's manifest, `header` the row of the header on every manager's sheet."""
TABLES_HEADER_ROW = 6
"""The row of the hidden sheet that holds the headings of its three tables; their rows follow."""
SHEET_TABLE_COLUMNS = ("sheet", "csm", "account_id", *ANSWER_COLUMNS)
"""The columns of its first table, from A on; one row per manager's sheet: its title, the manager as the list has it
(empty for none), and the letters of the columns that hold the account ids and the answers."""
VERDICT_TABLE_COLUMNS = ("J", "K")
"""The columns of its second table: a verdict's word, and its code."""
ACTION_TABLE_COLUMNS = ("M", "N")
"""The columns of its third table: a play's name, and its id in the library."""
EXACT_INTEGER_LIMIT = 10**15
"""From here on a spreadsheet keeps only the first 15 digits of a number: such an id is written as text."""

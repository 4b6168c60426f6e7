"""The Excel workbook of the list, and the reader of managers' answers in it."""

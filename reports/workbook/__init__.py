"""The Excel workbook, and what managers write into it."""

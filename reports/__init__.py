"""Output for people: the list as workbook, page and CSV, and every sentence in English and Chinese."""

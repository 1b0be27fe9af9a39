"""Reads tables the way a test wants them: rows by their first entries, entries by column."""


def rows_of(table, *keys):
    """Return ``{first entry: {column key: entry}}``; ``keys`` name other columns to key by."""
    names = [column.key for column in table.columns]
    found = {}
    for row in table.rows:
        entries = dict(zip(names, row, strict=True))
        key = tuple(entries[k].value for k in keys) if keys else row[0].value
        assert key not in found, f"two rows for {key}"
        found[key] = entries
    return found


def titled(tables, title):
    """Return the table whose title starts with ``title`` (plain spaces)."""
    return next(t for t in tables if t.title.replace("\u00a0", " ").startswith(title))


def plain(text):
    """Return ``text`` with all special spaces made plain ones."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")

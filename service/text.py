"""Words from elsewhere, made fit for a terminal and a log."""


def printable(text: str) -> str:
    """Return a text whose control characters are written out: a terminal would obey them."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)

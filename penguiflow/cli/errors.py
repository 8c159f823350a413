"""What the command line says when it can't do what it was asked to."""


class CommandError(Exception):
    """What was asked for can't be done as it was written; one line says why, the exit status is 2."""


class UnshowableError(Exception):
    """What a flow gave can't be written out; one line says whose it is and why, the exit status is 1."""


def one_line(error: BaseException) -> str:
    """Put an error and what caused it into one line; a group of one is that one.

    What a terminal would obey is left out: the text of an error may come from anywhere.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = _described(error)
    cause = None if isinstance(error, CommandError | UnshowableError) else error.__cause__
    if cause is not None and _said(cause) not in text:
        text = f"{text}: {_described(cause)}"
    elif cause is not None and type(cause).__name__ not in text:
        text = f"{text} ({type(cause).__name__})"
    return "".join(char if char.isprintable() else "�" for char in " ".join(text.split()))


def _described(error: BaseException) -> str:
    if isinstance(error, CommandError | UnshowableError):
        return str(error)
    said = _said(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _said(error: BaseException) -> str:
    """Give the text of an error; nothing where its `__str__` fails: its type still says something."""
    try:
        return str(error)
    except Exception:
        return ""

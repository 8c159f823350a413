"""What the command line says when it can't do what it was asked to."""


class CommandError(Exception):
    """What was asked for can't be done as it was written; one line says why, the exit status is 2."""


def one_line(error: BaseException) -> str:
    """Put an error and what caused it into one line."""
    text = _described(error)
    cause = error.__cause__
    if cause is not None and not isinstance(error, CommandError) and str(cause) not in text:
        text = f"{text}: {_described(cause)}"
    elif cause is not None and not isinstance(error, CommandError) and type(cause).__name__ not in text:
        text = f"{text} ({type(cause).__name__})"
    return " ".join(text.split())


def _described(error: BaseException) -> str:
    if isinstance(error, CommandError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

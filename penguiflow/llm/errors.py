"""Errors of models.

::

    ConnectorError
    └── ModelError                 a model gave no answer, or only a part of one
        ├── ModelUnreachable       there is no connection, or it was lost
        ├── ModelRefused           the provider says no: a wrong key, an unknown model, a wrong request
        ├── ModelBusy              too many requests, or the provider is overloaded
        ├── ModelTimeout           nothing came in time
        ├── ModelCutOff            the answer ended before it was over
        └── OutputInvalid          the answer does not fit the output that was asked for
"""

from __future__ import annotations

from penguiflow.errors import ConnectorError

from .deltas import Reply


class ModelError(ConnectorError):
    """A model gave no answer, or only a part of one.

    Attributes:
        reply: what it has said before that.
        status: the status of the HTTP response; 0 where there was none.
        code: how the provider calls it, where it does.
        passing: whether it may be well when it is tried again.
        retry_after: for how many seconds the provider wants to be left alone, where it says so.
    """

    def __init__(
        self,
        text: str,
        *,
        reply: Reply | None = None,
        status: int = 0,
        code: str = "",
        passing: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.reply: Reply = reply if reply is not None else Reply()
        self.status: int = status
        self.code: str = code
        self.passing: bool = passing
        self.retry_after: float | None = retry_after


class ModelUnreachable(ModelError):
    """There is no connection to the provider, or it was lost."""


class ModelRefused(ModelError):
    """The provider says no; the same request will get the same answer."""


class ModelBusy(ModelError):
    """There were too many requests, or the provider is overloaded or broken."""


class ModelTimeout(ModelError):
    """Nothing came in time."""


class ModelCutOff(ModelError):
    """The answer ended before it was over, or what came is none."""


class OutputInvalid(ModelError):
    """The answer does not fit the output that was asked for, also after it was asked to be repaired."""

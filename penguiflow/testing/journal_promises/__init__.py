"""What a journal promises, sentence by sentence: `check_journal` holds a store to them."""

from .checking import check_journal

__all__ = ["check_journal"]

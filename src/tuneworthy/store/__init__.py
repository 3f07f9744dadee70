"""The project's store below `.tuneworthy/`: the only code that knows paths."""

from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.store.responses import Expenses, ResponseStore, response_key

__all__ = ["Expenses", "Folder", "ResponseStore", "response_key", "write_atomic"]

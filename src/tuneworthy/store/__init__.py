"""What the tool remembers, all of it below `.tuneworthy/`: the only code that knows paths."""

from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.store.responses import ResponseStore, Spending, response_key

__all__ = ["Folder", "ResponseStore", "Spending", "response_key", "write_atomic"]

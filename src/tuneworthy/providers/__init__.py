"""Language models and the user's own pipelines behind one method: a file a provider.

Importing this package loads no network code; `open_provider` does, for the provider that is opened.
"""

from tuneworthy.providers.base import PROVIDERS, Provider, open_provider, outgoing, provider

__all__ = ["PROVIDERS", "Provider", "open_provider", "outgoing", "provider"]

"""The REST admin API, version 1."""

from torrust_py.api.app import api_application

__all__ = ["api_application"]

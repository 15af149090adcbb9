"""The configuration: a TOML document, overridden by environment variables, checked before anything starts."""

from torrust_py.config.errors import ConfigError
from torrust_py.config.load import LoadedConfig, default_config, load_config
from torrust_py.config.schema import (
    Config,
    Core,
    HealthCheckApi,
    HttpApi,
    HttpListener,
    TlsConfig,
    UdpListener,
)
from torrust_py.config.values import ApiToken, BindAddress, DatabasePath

__all__ = [
    "ApiToken",
    "BindAddress",
    "Config",
    "ConfigError",
    "Core",
    "DatabasePath",
    "HealthCheckApi",
    "HttpApi",
    "HttpListener",
    "LoadedConfig",
    "TlsConfig",
    "UdpListener",
    "default_config",
    "load_config",
]

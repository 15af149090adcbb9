"""Builds the native form where there is a C compiler; without one the install succeeds without it."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ["connection_ids", "http", "statistics", "swarms", "udp", "whitelist"]

extensions = cythonize(
    [
        Extension(f"torrust_py.native.{name}", [f"torrust_py/native/{name}.pyx"], extra_compile_args=["-O3"])
        for name in MODULES
    ],
    build_dir="build/cython",
)
for extension in extensions:
    extension.optional = True  # cythonize does not pass it on

setup(ext_modules=extensions, options={"build_ext": {"parallel": os.cpu_count()}})

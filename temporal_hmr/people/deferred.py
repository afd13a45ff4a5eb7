"""Modules that others import without need, imported once they are used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in for a module: the first look at what is in it imports it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks at
            raise AttributeError(name)
        package = self.__name__.partition(".")[0]
        for taken in (self.__name__, package):  # meanwhile
            if isinstance(sys.modules.get(taken), _Deferred):
                del sys.modules[taken]
        return getattr(import_module(self.__name__), name)


@contextmanager
def deferred(package: str, module: str) -> Iterator[None]:
    """Whoever imports `package.module` meanwhile has something that does so when it is used.

    Nothing happens if somebody has imported the package before.
    """
    if package in sys.modules:
        yield
        return
    stand_ins = {name: _Deferred(name) for name in (package, f"{package}.{module}")}
    setattr(stand_ins[package], module, stand_ins[f"{package}.{module}"])
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]

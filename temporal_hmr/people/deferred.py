"""Modules that others import without need, imported once they are used."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in for a module: the first look at what is in it imports it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks at
            raise AttributeError(name)
        return getattr(_imported(self.__name__), name)


class _DeferredFunctions(ModuleType):
    """Stands in for a module of functions: the first call of one imports it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*given: Any, **named: Any) -> Any:
            function = getattr(_imported(self.__name__), name)
            return function(*given, **named)

        return call


def _imported(name: str) -> ModuleType:
    for taken in (name, name.partition(".")[0]):
        if isinstance(sys.modules.get(taken), _Deferred | _DeferredFunctions):
            del sys.modules[taken]
    return import_module(name)


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
    with _standing_in(stand_ins):
        yield


@contextmanager
def deferred_functions(module: str) -> Iterator[None]:
    """Whoever takes functions from a module meanwhile imports it when one of them is called.

    Nothing happens if somebody has imported it before.
    """
    with _standing_in({} if module in sys.modules else {module: _DeferredFunctions(module)}):
        yield


@contextmanager
def _standing_in(stand_ins: Mapping[str, ModuleType]) -> Iterator[None]:
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]

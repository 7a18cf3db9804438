"""Calling what may never come back."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def run_bounded(function: Callable[[], T], *, timeout_s: float) -> T:
    """The result of ``function``, called in a thread of its own. An exception of ``function`` is raised here.

    Raises:
        TimeoutError: it has not come back after ``timeout_s``; it goes on, and only the end of the process ends it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 (carried over to the caller)
            errors.append(error)

    thread = threading.Thread(target=call, name="bounded-call", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]

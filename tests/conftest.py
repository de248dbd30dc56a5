"""What holds for every test: no lost failure, no forgotten timer, and hypothesis that repeats itself under
CI.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_collection_finish() -> None:
    """Take everything that imports have made out of the collector's sight: a full collection a test gets
    cheap.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_older_is_looked_at() -> Iterator[None]:
    """The same for what the tests of a module leave behind, so that it costs the following ones nothing."""
    yield
    gc.collect()
    gc.freeze()


class LoggedErrors:
    """Errors that reached the log during a test. A test that provokes one takes it out with `flush`."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        level = event.get("log_level")
        if event.get("isError") or "log_failure" in event or level in (LogLevel.error, LogLevel.critical):
            self.events.append(event)

    def flush(self, *kinds: type[BaseException]) -> list[BaseException]:
        """Take out the logged failures of these kinds (of all kinds, if none is given) and return them."""
        gc.collect()
        taken: list[BaseException] = []
        kept: list[dict[str, Any]] = []
        for event in self.events:
            failure = event.get("log_failure")
            if failure is not None and (not kinds or failure.check(*kinds)):
                taken.append(failure.value)
            else:
                kept.append(event)
        self.events[:] = kept
        return taken

    def describe(self) -> str:
        """The errors, for a person."""
        texts = []
        for event in self.events:
            failure = event.get("log_failure")
            texts.append(formatEvent(event) + ("" if failure is None else "\n" + failure.getTraceback()))
        return "\n".join(texts)


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    """Fails the test when a failure was logged, such as that of a Deferred nobody listened to any more."""
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    try:
        yield errors
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(errors)
    if errors.events:
        pytest.fail("errors were logged and not expected:\n" + errors.describe(), pytrace=False)


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that the test moves. Nothing may be left scheduled on it."""
    clock = Clock()
    yield clock
    assert clock.getDelayedCalls() == [], "calls are still scheduled at the end of the test"

"""What a Deferred gives: a result, or a Failure."""

from typing import Any

from twisted.internet.defer import Deferred


def told(deferred: Deferred[Any]) -> list[Any]:
    """Where the outcome stands, or will stand."""
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    return outcome


def outcome_of(deferred: Deferred[Any]) -> Any:
    """The outcome of one that has fired."""
    [outcome] = told(deferred)
    return outcome

"""The client for Twisted programs. For all others there is `twistedkv.blocking`."""

from twistedkv.client.results import CopyCheck, Incremented, PartialFailure, Value
from twistedkv.client.twisted import Client
from twistedkv.errors import (
    InvalidRequest,
    NotAnInteger,
    NotDone,
    NotEnoughCopies,
    OperationError,
    OutcomeUnknown,
    OutOfSpace,
    ShardLost,
    Unavailable,
    VersionMismatch,
)
from twistedkv.messages.client import ScanItem, ScanPage

__all__ = [
    "Client",
    "CopyCheck",
    "Incremented",
    "InvalidRequest",
    "NotAnInteger",
    "NotDone",
    "NotEnoughCopies",
    "OperationError",
    "OutOfSpace",
    "OutcomeUnknown",
    "PartialFailure",
    "ScanItem",
    "ScanPage",
    "ShardLost",
    "Unavailable",
    "Value",
    "VersionMismatch",
]

"""The protocol itself: pure state machines. No reactor, no socket, no clock; `now` is an argument, in seconds."""

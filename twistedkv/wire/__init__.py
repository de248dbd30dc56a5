"""Messages to bytes and back, without any I/O (docs/protocol.md)."""

"""The WebSocket protocol (RFC 6455, RFC 7692) without I/O: bytes to messages and messages to bytes."""

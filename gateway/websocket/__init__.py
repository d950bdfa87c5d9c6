"""The WebSocket protocol (RFC 6455, RFC 7692) as functions from bytes to messages and back."""

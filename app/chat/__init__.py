"""Chat: one request, from its plan through the engine's events to the caller's reply."""

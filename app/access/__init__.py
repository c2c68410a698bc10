"""Access: who calls, how much it may use, and which dial the operator's policy leaves to it."""

"""How long a request of the openai client may take, all its attempts together.

The client's own limit is between two bytes: an endpoint that drips would never reach it.
"""

MAX_BACK_OFF_S = 120.0
"""The longest wait between two attempts that the client lets a server ask for."""


def limit_s(timeout_s: float, retries: int) -> float:
    """Each attempt may wait for its connection and for its answer, and between two the client."""
    attempt_s = 2 * timeout_s
    return attempt_s + retries * (attempt_s + MAX_BACK_OFF_S)

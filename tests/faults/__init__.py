"""Faults, injected for real: what callers see, that the gateway recovers, that nothing stays."""

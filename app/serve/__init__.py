"""`personadual serve`: Redis, engine and gateway as children of one process.

preflight (is there room?) → children (one class) → stack (which, in which order, until when).
"""

"""The Pocket set: questions built from well-kept packages and word lists, the same every time."""

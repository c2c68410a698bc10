"""HTTP: connections and their limits, routes, and what they read and write."""

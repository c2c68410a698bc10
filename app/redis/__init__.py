"""Redis: the store's personas, keys and quotas, over one connection."""

"""The commands, a module each. `lazy` finds them by name: a command imports its own alone."""

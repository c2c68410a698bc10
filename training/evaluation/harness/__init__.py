"""Our suites as tasks of lm-evaluation-harness: its `--include_path` is this folder."""

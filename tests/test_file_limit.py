"""The limit of open files, which bounds the connections: raised as far as it goes."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("most", "is_told"), [(300, True), (4_096, False)])
def test_the_limit_of_files_is_raised_as_far_as_it_goes(most: int, is_told: bool) -> None:
    """Where that is little, the log says so and what to do."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, {most}));"
        "from app.http.connection import take_all_files; take_all_files();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) == most
    assert ("ulimit" in done.stderr) == is_told

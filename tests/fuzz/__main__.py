"""`python -m tests.fuzz TARGET SECONDS [FOLDER]`: atheris drives one target, from its corpus.

What it finds new is kept in FOLDER, where one is named; an input that breaks is written there too,
else into the working folder, and belongs into the corpus once it is mended.
"""

from __future__ import annotations

import resource
import sys

import atheris

with atheris.instrument_imports(include=["model", "app.chat.wire", "tests.fuzz.targets"]):
    from tests.fuzz.targets import CORPUS, TARGETS

MAX_INPUT_BYTES = 4_096
MAX_MEMORY_MB = 1_024


def main() -> None:
    name, seconds, *found = sys.argv[1:]
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT_BYTES}", "-timeout=5"]
    # libFuzzer looks at the peak, and Linux hands that of the parent on.
    born_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    options += [f"-rss_limit_mb={born_mb + MAX_MEMORY_MB}", f"-dict={CORPUS / (name + '.dict')}"]
    options += [f"-artifact_prefix={folder}/crash-" for folder in found]
    atheris.Setup([sys.argv[0], *options, *found, str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


main()

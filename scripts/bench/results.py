"""The file that scripts/bench's programs write their results to, and scripts/bench/report reads."""

import json
import os


def load(path):
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        return json.load(file)


def put(path, **parts):
    """Replaces parts of the file and leaves the others."""
    document = {**load(path), **parts}
    with open(path + ".new", "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)

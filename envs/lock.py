"""Print the exact versions that pip would install, from the report of a dry run: `make lock`."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as handle:
    found = json.load(handle)["install"]
names = {
    (item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"])
    for item in found
    if item["metadata"]["name"] != "clipsieve"
}
print("# Exact versions that `make demo` and `make test` install. `make lock` writes them anew.")
for name, version in sorted(names):
    print(f"{name}=={version}")

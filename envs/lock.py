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
# torch's wheels for other systems come without a GPU's libraries
on_linux = ("nvidia-", "cuda-", "triton")
for name, version in sorted(names):
    marker = ' ; sys_platform == "linux"' if name.startswith(on_linux) else ""
    print(f"{name}=={version}{marker}")

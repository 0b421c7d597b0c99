"""A generator for tests: a program that is given requests and writes each photograph blurred, with seeded noise."""

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageFilter

for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    request = json.loads(line)
    picture = Image.open(request["image"]).convert("RGB")
    picture = picture.filter(ImageFilter.BoxBlur(float(sys.argv[2])))
    noise = random.Random(request["seed"]).randbytes(len(picture.tobytes()))
    noise = Image.frombytes("RGB", picture.size, noise)
    Image.blend(picture, noise, 0.1).save(request["output"])

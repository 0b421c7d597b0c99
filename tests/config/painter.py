"""A generator for tests: a program that is given requests and writes each photograph blurred, with seeded noise."""

import json
import random
import sys

from PIL import Image, ImageFilter

for line in open(sys.argv[1], encoding="utf-8"):
    request = json.loads(line)
    picture = Image.open(request["image"]).convert("RGB")
    picture = picture.filter(ImageFilter.BoxBlur(float(sys.argv[2])))
    noise = random.Random(request["seed"]).randbytes(len(picture.tobytes()))
    noise = Image.frombytes("RGB", picture.size, noise)
    Image.blend(picture, noise, 0.1).save(request["output"])

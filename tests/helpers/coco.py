"""A folder of images and COCO's json files, drawn with digits."""

import json

import numpy as np
from PIL import Image

from retrain.detect.digit_boxes import BoxImages, DigitBoxes

GAP = 7
"""Numbers of categories in the file: 7, 14 and so on, as COCO's have gaps."""


def instances(images, boxes):
    """The content of a file of instances: (name, width, height), and (image, label, bbox)."""
    return {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, width, height) in enumerate(images, 100)
        ],
        "annotations": [
            {"id": n, "image_id": image, "category_id": GAP * label, "bbox": bbox, "iscrowd": 0}
            for n, (image, label, bbox) in enumerate(boxes)
        ],
        "categories": [
            {"id": GAP * label, "name": f"digit {label - 1}"} for label in range(10, 0, -1)
        ],
    }


def write_coco(root, split, number, side=64, name="instances_{split}.json"):
    """Write ``number`` images of DigitBoxes, three quarters as high as wide, as a split."""
    data = DigitBoxes(resolution=side, max_digits=3)
    drawn, height = data._images("train" if "train" in split else "val"), side * 3 // 4
    images, boxes = [], []
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for index in range(number):
        image, target = drawn[index]
        pixels = (image * BoxImages.STD + BoxImages.MEAN).clamp(0, 1).permute(1, 2, 0) * 255
        photo = Image.fromarray(pixels.numpy().astype(np.uint8)).crop((0, 0, side, height))
        photo.save(root / split / f"{index}.png")
        images.append((f"{index}.png", side, height))
        for (x1, y1, x2, y2), label in zip(target["boxes"].tolist(), target["labels"], strict=True):
            if y2 <= height:
                boxes.append((100 + index, int(label), [x1, y1, x2 - x1, y2 - y1]))
    path = root / "annotations" / name.format(split=split)
    path.write_text(json.dumps(instances(images, boxes)))
    return path

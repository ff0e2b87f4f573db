# A metric for `--metric`: how well a detector finds the boxes that another one finds, as the mean of
# average precisions over overlaps of 0.5, 0.55 … 0.95 (COCO's mAP of one class). The other one is the
# model as it came, so that no labels are needed; with labels of your own compare with these instead.
#
#     monge explore ultraface.onnx -o models --data images/ --metric 'python boxes.py {model} ultraface.onnx images/'
#
# The detector gives scores [1, N, 2] and boxes [1, N, 4] (corners, as shares of the picture), as
# Ultra-Light-Fast-Generic-Face-Detector does. It needs `pip install onnxruntime pillow numpy`.
import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=1)
    area = lambda b: np.prod(np.clip(b[..., 2:] - b[..., :2], 0, None), axis=-1)
    return both / np.maximum(area(box) + area(others) - both, 1e-12)


def detect(model: str, images: list[np.ndarray], least: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes with their scores for each image, those that overlap a better one left out."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options)
    name, found = session.get_inputs()[0].name, []
    for image in images:
        scores, boxes = session.run(None, {name: image[None]})
        scores, boxes = scores[0, :, 1], boxes[0]
        order = [i for i in np.argsort(-scores)[:400] if scores[i] >= least]
        kept: list[int] = []
        for i in order:
            if not kept or overlap(boxes[i], boxes[kept]).max() < 0.3:
                kept.append(i)
        found.append((boxes[kept], scores[kept]))
    return found


def average_precision(found: list, truth: list, least: float) -> float:
    """Area below the curve of precision over recall, boxes matched by an overlap of at least so much."""
    hits, total = [], sum(len(t) for t in truth)
    for (boxes, scores), true in zip(found, truth):
        free = np.ones(len(true), bool)
        for box, score in zip(boxes, scores):
            each = overlap(box, true) * free if len(true) else np.zeros(0)
            hit = len(each) > 0 and each.max() >= least
            if hit:
                free[each.argmax()] = False
            hits.append((score, hit))
    hits.sort(key=lambda h: -h[0])
    right = np.cumsum([h for _, h in hits])
    precision = right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]  # the best at this recall or a higher one
    return float(sum(p for p, (_, h) in zip(precision, hits) if h) / max(total, 1))


def main() -> None:
    model, original, folder = sys.argv[1:4]
    shape = onnxruntime.InferenceSession(original).get_inputs()[0].shape
    images = []
    for path in sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
        picture = Image.open(path).convert("RGB").resize((shape[3], shape[2]))
        images.append(((np.asarray(picture, np.float32) - 127) / 128).transpose(2, 0, 1))
    truth = [boxes for boxes, _ in detect(original, images, 0.6)]
    found = detect(model, images, 0.05)
    print(f"{sum(len(t) for t in truth)} boxes of the original in {len(images)} images", file=sys.stderr)
    print("mAP", np.mean([average_precision(found, truth, x) for x in np.arange(0.5, 1, 0.05)]))


if __name__ == "__main__":
    main()

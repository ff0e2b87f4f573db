"""Makes the image files of testdata/images with Pillow: `python3 images.py` in this folder.

All show the same 32×24 pixels: red, green / blue, grey in quarters.
"""
import os

import numpy as np
from PIL import Image

COLOURS = [[(200, 30, 20), (20, 160, 40)], [(30, 50, 220), (128, 128, 128)]]

a = np.zeros((24, 32, 3), np.uint8)
for y in range(2):
    for x in range(2):
        a[12 * y:12 * y + 12, 16 * x:16 * x + 16] = COLOURS[y][x]
image = Image.fromarray(a)
os.makedirs("images", exist_ok=True)
os.chdir("images")

image.save("lossy.webp", quality=95)
image.save("lossless.webp", lossless=True)
image.save("plain.bmp")
image.save("lzw.tiff", compression="tiff_lzw")
image.save("deflate.tif", compression="tiff_adobe_deflate")
image.save("animated.gif", save_all=True, append_images=[Image.new("RGB", image.size)], duration=100)
image.save("progressive.jpg", quality=95, subsampling=0, progressive=True)
image.convert("CMYK").save("cmyk.jpg", quality=95, subsampling=0)
image.quantize(8).save("palette.png")

# Transparent on the left, which does not change its colours.
alpha = np.full((24, 32, 1), 255, np.uint8)
alpha[:, :16] = 0
clear = Image.fromarray(np.concatenate([a, alpha], 2))
clear.save("alpha.png")
clear.save("alpha.webp", lossless=True, exact=True)

# Greys: the image's luma, with eight and with sixteen bits.
grey = image.convert("L")
grey.save("grey.png")
Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save("grey16.png")

# How cameras store it: turned, with a note that says how to turn it back.
BACK = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}
for o, turned in BACK.items():
    exif = Image.Exif()
    exif[0x0112] = o
    image.transpose(turned).save(f"orient{o}.jpg", quality=95, subsampling=0, exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
for name, options in {"orient6.png": {}, "orient6.webp": {"lossless": True}}.items():
    image.transpose(Image.Transpose.ROTATE_90).save(name, exif=exif, **options)

# What is not read.
with open("photo.heic", "wb") as f:
    f.write(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")

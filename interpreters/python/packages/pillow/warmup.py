"""Pillow in the image: the formats' modules, and the usual operations run once."""

import io

import PIL.Image
import PIL.ImageChops
import PIL.ImageColor
import PIL.ImageDraw
import PIL.ImageEnhance
import PIL.ImageFilter
import PIL.ImageFont
import PIL.ImageOps
import PIL.ImageStat

CELLS = ["from PIL import Image\nimage = Image.new('RGB', (32, 16), 'white')\nimage.resize((16, 8)).size"]


def warm_up():
    PIL.Image.init()
    image = PIL.Image.new("RGB", (64, 32), "white")
    PIL.ImageDraw.Draw(image).ellipse((2, 2, 20, 20), fill="red")
    for kind in ("PNG", "JPEG", "GIF"):
        room = io.BytesIO()
        image.save(room, kind)
        room.seek(0)
        PIL.Image.open(room).load()
    image.convert("L").rotate(30).filter(PIL.ImageFilter.BLUR).thumbnail((8, 8))

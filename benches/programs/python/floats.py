import math


def work():
    points = [(math.sin(i), math.cos(i), i * 0.5) for i in range(20_000)]
    total = 0.0
    for _ in range(8):
        for x, y, z in points:
            total += math.sqrt(x * x + y * y + z * z)
    return round(total, 3)

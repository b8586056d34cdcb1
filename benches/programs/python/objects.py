class Vector:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)


def work():
    total = Vector(0, 0)
    step = Vector(1, 2)
    for _ in range(300_000):
        total = total + step
    return total.x + total.y

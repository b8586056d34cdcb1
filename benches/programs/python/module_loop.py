def work():
    namespace = {}
    exec("total = 0\nfor i in range(1_000_000):\n    total += i & 7", namespace)
    return namespace["total"]

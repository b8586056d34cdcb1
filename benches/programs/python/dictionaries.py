def work():
    counts = {}
    for i in range(600_000):
        key = i * 2654435761 % 4096
        counts[key] = counts.get(key, 0) + 1
    return sum(counts.values()) + len(counts)

import json


def work():
    document = [{"id": i, "name": f"n{i}", "values": [i * 0.5, i, None, True]} for i in range(5_000)]
    size = 0
    for _ in range(6):
        size += len(json.dumps(json.loads(json.dumps(document))))
    return size

def work():
    rows = [[(i * j) % 17 for j in range(300)] for i in range(300)]
    columns = [sum(row[j] for row in rows) for j in range(300)]
    return sum(columns) + len({value for row in rows for value in row})

function work() {
    const rows = Array.from({ length: 5000 }, (_, i) => ({ id: i, name: `row ${i}`, tags: ['a', 'b'], score: i / 3 }));
    let total = 0;
    for (let round = 0; round < 5; round++) total += JSON.parse(JSON.stringify(rows)).length;
    return total;
}

function work() {
    const counts = new Map();
    for (let i = 0; i < 300000; i++) {
        const key = `key${i % 5000}`;
        counts.set(key, (counts.get(key) ?? 0) + i);
    }
    return [...counts.values()].reduce((a, b) => a + b);
}

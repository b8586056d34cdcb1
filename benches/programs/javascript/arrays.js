function work() {
    const numbers = Array.from({ length: 100000 }, (_, i) => (i * 7919) % 100003);
    const sorted = numbers
        .filter((n) => n % 2)
        .map((n) => n * 3)
        .sort((a, b) => a - b);
    return sorted.reduce((sum, n, i) => (sum + n * i) % 1000003, 0);
}

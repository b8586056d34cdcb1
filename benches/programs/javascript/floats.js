function work() {
    let x = 0.5;
    let sum = 0;
    for (let i = 0; i < 1000000; i++) {
        x = 3.7 * x * (1 - x);
        sum += Math.sqrt(x);
    }
    return sum.toFixed(6);
}

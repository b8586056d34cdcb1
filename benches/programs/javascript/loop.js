function work() {
    let total = 0;
    for (let i = 0; i < 3000000; i++) total = (total + i * i) % 1000003;
    return total;
}

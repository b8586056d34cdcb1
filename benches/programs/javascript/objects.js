class Vector {
    constructor(x, y) {
        this.x = x;
        this.y = y;
    }

    plus(other) {
        return new Vector(this.x + other.x, this.y + other.y);
    }
}

function work() {
    let sum = new Vector(0, 0);
    for (let i = 0; i < 300000; i++) sum = sum.plus(new Vector(i, -i));
    return sum.x + sum.y;
}

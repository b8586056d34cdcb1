// Timers. The cell's loop (../cell.c) calls `tick` until none is left.
import native from 'sandpool:native';

const timers = new Map();
let immediates = [];
let nextId = 1;

class Timeout {
    constructor(callback, delay, values, repeats) {
        delay = Number(delay);
        this.delay = delay >= 1 && delay <= 2147483647 ? Math.trunc(delay) : 1;
        this.callback = callback;
        this.values = values;
        this.repeats = repeats;
        this.id = nextId++;
        this.due = native.now() + this.delay;
        this.isRef = true;
        timers.set(this.id, this);
    }

    ref() {
        this.isRef = true;
        return this;
    }

    unref() {
        this.isRef = false;
        return this;
    }

    hasRef() {
        return this.isRef;
    }

    refresh() {
        this.due = native.now() + this.delay;
        timers.set(this.id, this);
        return this;
    }

    close() {
        timers.delete(this.id);
        return this;
    }

    [Symbol.toPrimitive]() {
        return this.id;
    }

    [Symbol.dispose ?? Symbol.for('dispose')]() {
        this.close();
    }
}
for (const name of ['callback', 'values', 'repeats', 'id', 'due', 'isRef', 'delay']) {
    Object.defineProperty(Timeout.prototype, name, { writable: true, enumerable: false });
}

function check(callback) {
    if (typeof callback !== 'function') {
        const error = new TypeError(
            `The "callback" argument must be of type function. Received ${callback === null ? 'null' : typeof callback}`,
        );
        error.code = 'ERR_INVALID_ARG_TYPE';
        throw error;
    }
}

export function setTimeout(callback, delay, ...values) {
    check(callback);
    return new Timeout(callback, delay, values, false);
}

export function setInterval(callback, delay, ...values) {
    check(callback);
    return new Timeout(callback, delay, values, true);
}

export function clearTimeout(timer) {
    if (timer instanceof Timeout) timers.delete(timer.id);
    else if (timer !== undefined && timer !== null) timers.delete(Number(timer));
}

export const clearInterval = clearTimeout;

class Immediate {
    constructor(callback, values) {
        this.callback = callback;
        this.values = values;
    }
}

export function setImmediate(callback, ...values) {
    check(callback);
    const immediate = new Immediate(callback, values);
    immediates.push(immediate);
    return immediate;
}

export function clearImmediate(immediate) {
    immediates = immediates.filter((other) => other !== immediate);
}

/** Runs one thing that is due and gives 0, or the milliseconds to wait for the next, or -1 when nothing is left. */
export function tick() {
    let next;
    let isRef = false;
    for (const timer of timers.values()) {
        if (next === undefined || timer.due < next.due || (timer.due === next.due && timer.id < next.id)) next = timer;
        isRef ||= timer.isRef;
    }
    const now = next === undefined ? 0 : native.now();
    if (next !== undefined && next.due <= now) {
        if (next.repeats) next.due = now + next.delay;
        else timers.delete(next.id);
        next.callback(...next.values);
        return 0;
    }
    const immediate = immediates.shift();
    if (immediate !== undefined) {
        immediate.callback(...immediate.values);
        return 0;
    }
    return isRef ? next.due - now : -1;
}

/** Forgets all: the cell has ended. */
export function clear() {
    if (timers.size > 0) timers.clear();
    if (immediates.length > 0) immediates = [];
}

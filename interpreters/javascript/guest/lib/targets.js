// Event, EventTarget, AbortController and AbortSignal.
import { setTimeout } from 'sandpool:timers';

export class Event {
    #type;
    #canBeCancelled;
    #isCancelled = false;
    isStopped = false;

    constructor(type, { cancelable = false } = {}) {
        this.#type = `${type}`;
        this.#canBeCancelled = Boolean(cancelable);
        Object.defineProperty(this, 'isStopped', { enumerable: false });
        this.target = null;
        this.timeStamp = performance.now();
    }

    get type() {
        return this.#type;
    }

    get cancelable() {
        return this.#canBeCancelled;
    }

    get defaultPrevented() {
        return this.#isCancelled;
    }

    get currentTarget() {
        return this.target;
    }

    preventDefault() {
        this.#isCancelled ||= this.#canBeCancelled;
    }

    stopImmediatePropagation() {
        this.isStopped = true;
    }

    stopPropagation() {}
}

export class EventTarget {
    #listeners = new Map();

    addEventListener(type, listener, options = {}) {
        if (listener === null || listener === undefined) return;
        const list = this.#listeners.get(`${type}`) ?? [];
        if (list.some((other) => other.listener === listener)) return;
        const { once = false, signal } = typeof options === 'object' && options !== null ? options : {};
        if (signal?.aborted) return;
        list.push({ listener, once });
        this.#listeners.set(`${type}`, list);
        signal?.addEventListener('abort', () => this.removeEventListener(type, listener));
    }

    removeEventListener(type, listener) {
        const list = this.#listeners.get(`${type}`);
        if (list !== undefined)
            this.#listeners.set(
                `${type}`,
                list.filter((other) => other.listener !== listener),
            );
    }

    dispatchEvent(event) {
        event.target = this;
        for (const { listener, once } of [...(this.#listeners.get(event.type) ?? [])]) {
            if (once) this.removeEventListener(event.type, listener);
            if (typeof listener === 'function') listener.call(this, event);
            else listener.handleEvent?.(event);
            if (event.isStopped) break;
        }
        return !event.defaultPrevented;
    }
}

const MAKE = Symbol('make');

export class AbortSignal extends EventTarget {
    #reason;
    onabort = null;

    constructor(key) {
        super();
        if (key !== MAKE) throw new TypeError('Illegal constructor');
        Object.defineProperty(this, 'onabort', { enumerable: false });
    }

    get aborted() {
        return this.#reason !== undefined;
    }

    get reason() {
        return this.#reason;
    }

    throwIfAborted() {
        if (this.aborted) throw this.#reason;
    }

    [MAKE](reason = new DOMException('This operation was aborted', 'AbortError')) {
        if (this.aborted) return;
        this.#reason = reason;
        const event = new Event('abort');
        this.onabort?.(event);
        this.dispatchEvent(event);
    }

    static abort(reason) {
        const signal = new AbortSignal(MAKE);
        signal[MAKE](reason);
        return signal;
    }

    static timeout(milliseconds) {
        const signal = new AbortSignal(MAKE);
        setTimeout(
            () => signal[MAKE](new DOMException('The operation was aborted due to timeout', 'TimeoutError')),
            milliseconds,
        ).unref();
        return signal;
    }

    static any(signals) {
        const signal = new AbortSignal(MAKE);
        for (const other of signals) {
            if (other.aborted) signal[MAKE](other.reason);
            else other.addEventListener('abort', () => signal[MAKE](other.reason));
        }
        return signal;
    }
}

export class AbortController {
    #signal = new AbortSignal(MAKE);

    get signal() {
        return this.#signal;
    }

    abort(reason) {
        this.#signal[MAKE](reason);
    }
}

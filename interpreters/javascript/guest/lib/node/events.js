// node:events. The listeners are kept under a symbol, made when they are first needed: old code makes emitters without
// calling a constructor (util.inherits, Object.assign).
const LISTENERS = Symbol('listeners');

function listenersOf(emitter) {
    if (!Object.hasOwn(emitter, LISTENERS)) Object.defineProperty(emitter, LISTENERS, { value: new Map() });
    return emitter[LISTENERS];
}

function add(emitter, name, listener, once, first) {
    if (typeof listener !== 'function') {
        const error = new TypeError(
            `The "listener" argument must be of type function. Received ${listener === null ? 'null' : typeof listener}`,
        );
        error.code = 'ERR_INVALID_ARG_TYPE';
        throw error;
    }
    const listeners = listenersOf(emitter);
    if (listeners.has('newListener')) emitter.emit('newListener', name, listener);
    const list = listeners.get(name) ?? [];
    listeners.set(name, first ? [{ listener, once }, ...list] : [...list, { listener, once }]);
    return emitter;
}

class Emitter {
    on(name, listener) {
        return add(this, name, listener, false, false);
    }

    once(name, listener) {
        return add(this, name, listener, true, false);
    }

    prependListener(name, listener) {
        return add(this, name, listener, false, true);
    }

    prependOnceListener(name, listener) {
        return add(this, name, listener, true, true);
    }

    off(name, listener) {
        const list = listenersOf(this).get(name) ?? [];
        const at = list.findLastIndex((entry) => entry.listener === listener);
        if (at !== -1) {
            const left = list.toSpliced(at, 1);
            if (left.length > 0) listenersOf(this).set(name, left);
            else listenersOf(this).delete(name);
            if (listenersOf(this).has('removeListener')) this.emit('removeListener', name, listener);
        }
        return this;
    }

    removeAllListeners(name) {
        if (name === undefined) listenersOf(this).clear();
        else listenersOf(this).delete(name);
        return this;
    }

    emit(name, ...values) {
        const list = listenersOf(this).get(name);
        if (list === undefined) {
            if (name !== 'error') return false;
            if (values[0] instanceof Error) throw values[0];
            const error = new Error(`Unhandled error. (${String(values[0])})`);
            error.code = 'ERR_UNHANDLED_ERROR';
            throw error;
        }
        for (const { listener, once } of list) {
            if (once) this.off(name, listener);
            listener.apply(this, values);
        }
        return true;
    }

    listenerCount(name) {
        return listenersOf(this).get(name)?.length ?? 0;
    }

    listeners(name) {
        return (listenersOf(this).get(name) ?? []).map((entry) => entry.listener);
    }

    rawListeners(name) {
        return this.listeners(name);
    }

    eventNames() {
        return [...listenersOf(this).keys()];
    }

    setMaxListeners() {
        return this;
    }

    getMaxListeners() {
        return 10;
    }

    static once(emitter, name) {
        return new Promise((settle, fail) => {
            const failed = (error) => {
                emitter.off(name, happened);
                fail(error);
            };
            const happened = (...values) => {
                emitter.off('error', failed);
                settle(values);
            };
            emitter.once(name, happened);
            if (name !== 'error') emitter.once('error', failed);
        });
    }
}
for (const [alias, name] of [
    ['addListener', 'on'],
    ['removeListener', 'off'],
]) {
    Object.defineProperty(Emitter.prototype, alias, {
        value: Emitter.prototype[name],
        writable: true,
        configurable: true,
    });
}

/** A function: old code calls it on objects of its own, `EventEmitter.call(this)`. */
export function EventEmitter() {}
EventEmitter.prototype = Emitter.prototype;
Object.defineProperty(Emitter.prototype, 'constructor', { value: EventEmitter, writable: true, configurable: true });
Object.assign(EventEmitter, { EventEmitter, once: Emitter.once, defaultMaxListeners: 10 });

export default EventEmitter;

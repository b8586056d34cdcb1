// structuredClone.
import native from 'sandpool:native';

function refuse(value) {
    const shown =
        typeof value === 'symbol'
            ? value.toString()
            : typeof value === 'function'
              ? Function.prototype.toString.call(value).slice(0, 60)
              : '#<Object>';
    throw new DOMException(`${shown} could not be cloned.`, 'DataCloneError');
}

export function structuredClone(value) {
    if (arguments.length === 0) throw new TypeError('The "value" argument must be specified');
    return clone(value, new Map());
}

function clone(value, known) {
    if (typeof value === 'function' || typeof value === 'symbol') refuse(value);
    if (value === null || typeof value !== 'object') return value;
    if (known.has(value)) return known.get(value);
    const keep = (copy) => {
        known.set(value, copy);
        return copy;
    };
    const kind = native.classOf(value);
    if (Array.isArray(value)) {
        const copy = keep(new Array(value.length));
        for (const key of Object.keys(value)) copy[key] = clone(value[key], known);
        return copy;
    }
    if (ArrayBuffer.isView(value)) {
        const buffer = clone(value.buffer, known);
        const type = globalThis[kind];
        return keep(new type(buffer, value.byteOffset, kind === 'DataView' ? value.byteLength : value.length));
    }
    switch (kind) {
        case 'Number':
        case 'String':
        case 'Boolean':
        case 'BigInt':
            return keep(Object(value.valueOf()));
        case 'Date':
            return keep(new Date(value.getTime()));
        case 'RegExp':
            return keep(new RegExp(value.source, value.flags));
        case 'ArrayBuffer':
            return keep(value.slice(0));
        case 'Map': {
            const copy = keep(new Map());
            for (const [key, item] of [...value]) copy.set(clone(key, known), clone(item, known));
            return copy;
        }
        case 'Set': {
            const copy = keep(new Set());
            for (const item of [...value]) copy.add(clone(item, known));
            return copy;
        }
        case 'Error': {
            const names = ['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError'];
            const type = names.includes(value.name) ? globalThis[value.name] : Error;
            const copy = keep(new type(value.message));
            Object.defineProperty(copy, 'stack', { value: value.stack, writable: true, configurable: true });
            if (Object.hasOwn(value, 'cause')) {
                Object.defineProperty(copy, 'cause', {
                    value: clone(value.cause, known),
                    writable: true,
                    configurable: true,
                });
            }
            return copy;
        }
        case 'Promise':
        case 'WeakMap':
        case 'WeakSet':
        case 'WeakRef':
        case 'Generator':
        case 'Proxy':
            refuse(value);
    }
    const copy = keep({});
    for (const key of Object.keys(value)) copy[key] = clone(value[key], known);
    return copy;
}

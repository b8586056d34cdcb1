// Deep equality, for assert and util.
import native from 'sandpool:native';

export function isDeepStrictEqual(one, other) {
    return equal(one, other, true, []);
}

export function isDeepEqual(one, other) {
    return equal(one, other, false, []);
}

function equal(one, other, strict, known) {
    if (strict ? Object.is(one, other) : one == other || (one !== one && other !== other)) return true;
    if (one === null || other === null || typeof one !== 'object' || typeof other !== 'object') return false;
    if (strict && Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
    const kind = native.classOf(one);
    if (kind !== native.classOf(other) || Array.isArray(one) !== Array.isArray(other)) return false;
    if (known.some(([a, b]) => a === one && b === other)) return true;
    known = [...known, [one, other]];
    switch (kind) {
        case 'Date':
            if (one.getTime() !== other.getTime()) return false;
            break;
        case 'RegExp':
            if (`${one}` !== `${other}` || one.lastIndex !== other.lastIndex) return false;
            break;
        case 'Number':
        case 'String':
        case 'Boolean':
        case 'BigInt':
        case 'Symbol':
            if (!Object.is(one.valueOf(), other.valueOf())) return false;
            break;
        case 'Error':
            if (one.name !== other.name || one.message !== other.message) return false;
            break;
        case 'Map':
            if (one.size !== other.size) return false;
            for (const [key, value] of one) {
                const match = other.has(key)
                    ? [key, other.get(key)]
                    : typeof key === 'object'
                      ? [...other].find(([candidate]) => equal(key, candidate, strict, known))
                      : undefined;
                if (match === undefined || !equal(value, match[1], strict, known)) return false;
            }
            break;
        case 'Set':
            if (one.size !== other.size) return false;
            for (const value of one) {
                if (
                    !other.has(value) &&
                    !(typeof value === 'object' && [...other].some((item) => equal(value, item, strict, known)))
                )
                    return false;
            }
            break;
        case 'ArrayBuffer':
            return equal(new Uint8Array(one), new Uint8Array(other), strict, known);
    }
    if (Array.isArray(one) && one.length !== other.length) return false;
    const keys = keysOf(one),
        others = keysOf(other);
    return (
        keys.length === others.length &&
        keys.every((key) => Object.hasOwn(other, key) && equal(one[key], other[key], strict, known))
    );
}

function keysOf(value) {
    return [
        ...Object.keys(value),
        ...Object.getOwnPropertySymbols(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key)),
    ];
}

// node:util, as far as it is used.
import native from 'sandpool:native';
import { formatText, formatWithOptions, inspect } from 'sandpool:inspect';
import { isDeepStrictEqual } from 'sandpool:equality';
import { TextDecoder, TextEncoder } from 'sandpool:encoding';

const is =
    (...kinds) =>
    (value) =>
        kinds.includes(native.classOf(value));

const util = {
    inspect,
    format: formatText,
    formatWithOptions,
    isDeepStrictEqual,
    promisify(original) {
        if (typeof original !== 'function') throw new TypeError('The "original" argument must be of type function');
        if (original[util.promisify.custom]) return original[util.promisify.custom];
        return function (...values) {
            return new Promise((settle, fail) => {
                original.call(this, ...values, (error, value) => (error ? fail(error) : settle(value)));
            });
        };
    },
    callbackify:
        (original) =>
        (...values) => {
            const callback = values.pop();
            original(...values).then(
                (value) => setImmediate(callback, null, value),
                (error) => setImmediate(callback, error),
            );
        },
    deprecate: (original) => original,
    inherits(type, parent) {
        type.super_ = parent;
        Object.setPrototypeOf(type.prototype, parent.prototype);
    },
    stripVTControlCharacters: (text) => text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, ''),
    toUSVString: (text) => `${text}`.toWellFormed(),
    styleText: (style, text) => text,
    isArray: Array.isArray,
    types: {
        isDate: is('Date'),
        isRegExp: is('RegExp'),
        isMap: is('Map'),
        isSet: is('Set'),
        isWeakMap: is('WeakMap'),
        isWeakSet: is('WeakSet'),
        isPromise: is('Promise'),
        isProxy: (value) => native.proxyTarget(value) !== undefined,
        isNativeError: is('Error'),
        isGeneratorObject: is('Generator'),
        isArrayBuffer: is('ArrayBuffer'),
        isAnyArrayBuffer: is('ArrayBuffer', 'SharedArrayBuffer'),
        isDataView: is('DataView'),
        isUint8Array: is('Uint8Array'),
        isTypedArray: (value) => ArrayBuffer.isView(value) && native.classOf(value) !== 'DataView',
        isArrayBufferView: ArrayBuffer.isView,
        isMapIterator: is('Map Iterator'),
        isSetIterator: is('Set Iterator'),
        isAsyncFunction: (value) =>
            typeof value === 'function' && /^async\b/.test(Function.prototype.toString.call(value)),
        isGeneratorFunction: (value) =>
            typeof value === 'function' && /^(?:async\s+)?function\s*\*/.test(Function.prototype.toString.call(value)),
    },
    TextDecoder,
    TextEncoder,
};
util.promisify.custom = Symbol.for('nodejs.util.promisify.custom');

export default util;

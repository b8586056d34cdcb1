// node:crypto, as far as randomness goes, and globalThis.crypto.
import native from 'sandpool:native';
import { Buffer } from 'sandpool:node/buffer';
import { bytesOf } from 'sandpool:encoding';

function randomUUID() {
    const bytes = new Uint8Array(16);
    native.random(bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function getRandomValues(array) {
    if (!ArrayBuffer.isView(array))
        throw new TypeError('The "typedArray" argument must be an integer-typed TypedArray');
    if (array.byteLength > 65536)
        throw new DOMException('The requested length exceeds 65,536 bytes', 'QuotaExceededError');
    native.random(bytesOf(array));
    return array;
}

function randomBytes(size, callback) {
    const bytes = Buffer.alloc(size);
    native.random(bytes);
    if (callback === undefined) return bytes;
    setImmediate(callback, null, bytes);
    return undefined;
}

function randomInt(from, to) {
    if (to === undefined) [from, to] = [0, from];
    const range = to - from;
    const bytes = new Uint8Array(8);
    // 48 bits, and none of the numbers that would favour the first ones.
    for (;;) {
        native.random(bytes);
        const number = bytes.subarray(0, 6).reduce((sum, byte) => sum * 256 + byte, 0);
        if (number < 2 ** 48 - (2 ** 48 % range)) return from + (number % range);
    }
}

const webcrypto = { randomUUID, getRandomValues };
Object.defineProperty(webcrypto, Symbol.toStringTag, { value: 'Crypto', configurable: true });

export default { randomUUID, getRandomValues, randomBytes, randomInt, webcrypto };

// node:buffer: a Uint8Array with the methods that code uses most.
import native from 'sandpool:native';
import { custom } from 'sandpool:inspect';
import { bytesOf, textOf } from 'sandpool:encoding';

const ENCODINGS = [
    'utf8',
    'utf-8',
    'hex',
    'base64',
    'base64url',
    'ascii',
    'latin1',
    'binary',
    'ucs2',
    'ucs-2',
    'utf16le',
    'utf-16le',
];

function invalid(what, value) {
    const error = new TypeError(
        `${what}. Received ${value === null ? 'null' : value === undefined ? 'undefined' : `type ${typeof value}`}`,
    );
    error.code = 'ERR_INVALID_ARG_TYPE';
    return error;
}

function encode(text, encoding = 'utf8') {
    switch (`${encoding}`.toLowerCase()) {
        case 'utf8':
        case 'utf-8':
            return native.encode(text.toWellFormed());
        case 'hex': {
            const pairs = /^(?:[0-9a-f]{2})*/i.exec(text)[0];
            return Uint8Array.fromHex(pairs);
        }
        case 'base64':
        case 'base64url': {
            const clean = text
                .replace(/[^A-Za-z0-9+/_-]/g, '')
                .replaceAll('-', '+')
                .replaceAll('_', '/');
            return Uint8Array.fromBase64(clean.length % 4 === 1 ? clean.slice(0, -1) : clean);
        }
        case 'ascii':
        case 'latin1':
        case 'binary':
            return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
        case 'ucs2':
        case 'ucs-2':
        case 'utf16le':
        case 'utf-16le': {
            const bytes = new Uint8Array(text.length * 2);
            for (let i = 0; i < text.length; i++) {
                bytes[i * 2] = text.charCodeAt(i) & 0xff;
                bytes[i * 2 + 1] = text.charCodeAt(i) >> 8;
            }
            return bytes;
        }
    }
    const error = new TypeError(`Unknown encoding: ${encoding}`);
    error.code = 'ERR_UNKNOWN_ENCODING';
    throw error;
}

function decode(bytes, encoding = 'utf8') {
    switch (`${encoding}`.toLowerCase()) {
        case 'utf8':
        case 'utf-8':
            return native.decode(bytes, false);
        case 'hex':
            return bytes.toHex();
        case 'base64':
            return bytes.toBase64();
        case 'base64url':
            return bytes.toBase64({ alphabet: 'base64url', omitPadding: true });
        case 'ascii':
            return textOf(bytes.map((byte) => byte & 0x7f));
        case 'latin1':
        case 'binary':
            return textOf(bytes);
        case 'ucs2':
        case 'ucs-2':
        case 'utf16le':
        case 'utf-16le': {
            const codes = [];
            for (let i = 0; i + 1 < bytes.length; i += 2) codes.push(bytes[i] | (bytes[i + 1] << 8));
            return textOf(codes);
        }
    }
    return encode('', encoding);
}

const plain = (buffer) => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
const own = (bytes) => new FastBuffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);

class FastBuffer extends Uint8Array {
    static get [Symbol.species]() {
        return FastBuffer;
    }

    toString(encoding = 'utf8', start = 0, end = this.length) {
        return decode(plain(this).subarray(start, end), encoding ?? 'utf8');
    }

    toLocaleString(encoding) {
        return this.toString(encoding);
    }

    toJSON() {
        return { type: 'Buffer', data: Array.from(this) };
    }

    equals(other) {
        return Buffer.compare(this, other) === 0;
    }

    compare(other) {
        return Buffer.compare(this, other);
    }

    slice(start, end) {
        return this.subarray(start, end);
    }

    write(text, offset = 0, length = this.length - offset, encoding = 'utf8') {
        if (typeof offset === 'string') [encoding, offset, length] = [offset, 0, this.length];
        else if (typeof length === 'string') [encoding, length] = [length, this.length - offset];
        const bytes = encode(`${text}`, encoding).subarray(0, Math.min(length, this.length - offset));
        this.set(bytes, offset);
        return bytes.length;
    }

    copy(target, targetStart = 0, start = 0, end = this.length) {
        const part = plain(this).subarray(start, Math.min(end, start + target.length - targetStart));
        target.set(part, targetStart);
        return part.length;
    }

    fill(value, start = 0, end = this.length, encoding = 'utf8') {
        if (typeof start === 'string') [encoding, start, end] = [start, 0, this.length];
        if (typeof value === 'number') return super.fill(value, start, end);
        const bytes = typeof value === 'string' ? encode(value, encoding) : bytesOf(value);
        for (let i = start; i < end; i++) this[i] = bytes.length === 0 ? 0 : bytes[(i - start) % bytes.length];
        return this;
    }

    indexOf(value, from = 0, encoding = 'utf8') {
        if (typeof value === 'number') return super.indexOf(value & 0xff, from);
        const wanted = typeof value === 'string' ? encode(value, encoding) : bytesOf(value);
        if (from < 0) from = Math.max(0, this.length + from);
        outer: for (let i = from; i <= this.length - wanted.length; i++) {
            for (let j = 0; j < wanted.length; j++) {
                if (this[i + j] !== wanted[j]) continue outer;
            }
            return i;
        }
        return -1;
    }

    includes(value, from, encoding) {
        return this.indexOf(value, from, encoding) !== -1;
    }

    [custom]() {
        const shown = Array.from(plain(this).subarray(0, 50), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
        const left = this.length - 50;
        return `<Buffer${shown && ` ${shown}`}${left > 0 ? ` ... ${left} more byte${left > 1 ? 's' : ''}` : ''}>`;
    }
}

// readUInt32LE and its like, over a DataView.
const NUMBERS = {
    UInt8: ['Uint8', 1],
    Int8: ['Int8', 1],
    UInt16: ['Uint16', 2],
    Int16: ['Int16', 2],
    UInt32: ['Uint32', 4],
    Int32: ['Int32', 4],
    Float: ['Float32', 4],
    Double: ['Float64', 8],
    BigInt64: ['BigInt64', 8],
    BigUInt64: ['BigUint64', 8],
};
const view = (buffer) => new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
for (const [name, [type, size]] of Object.entries(NUMBERS)) {
    for (const order of size === 1 ? [''] : ['LE', 'BE']) {
        const methods = {
            [`read${name}${order}`](offset = 0) {
                return view(this)[`get${type}`](offset, order === 'LE');
            },
            [`write${name}${order}`](value, offset = 0) {
                view(this)[`set${type}`](offset, value, order === 'LE');
                return offset + size;
            },
        };
        for (const [key, value] of Object.entries(methods)) {
            for (const alias of new Set([key, key.replace('UInt', 'Uint')])) {
                Object.defineProperty(FastBuffer.prototype, alias, { value, writable: true, configurable: true });
            }
        }
    }
}

export function Buffer(value, encoding, length) {
    return typeof value === 'number' ? Buffer.alloc(value) : Buffer.from(value, encoding, length);
}
Buffer.prototype = FastBuffer.prototype;
Object.defineProperty(FastBuffer.prototype, 'constructor', { value: Buffer, writable: true, configurable: true });
Object.setPrototypeOf(Buffer, Uint8Array);

Object.assign(Buffer, {
    poolSize: 8192,
    alloc: (size, fill, encoding) =>
        fill === undefined ? new FastBuffer(size) : new FastBuffer(size).fill(fill, 0, size, encoding),
    allocUnsafe: (size) => new FastBuffer(size),
    allocUnsafeSlow: (size) => new FastBuffer(size),
    isBuffer: (value) => value instanceof FastBuffer,
    isEncoding: (name) => typeof name === 'string' && ENCODINGS.includes(name.toLowerCase()),
    byteLength: (value, encoding) => (typeof value === 'string' ? encode(value, encoding).length : value.byteLength),
    compare(one, other) {
        const length = Math.min(one.length, other.length);
        for (let i = 0; i < length; i++) {
            if (one[i] !== other[i]) return one[i] < other[i] ? -1 : 1;
        }
        return Math.sign(one.length - other.length);
    },
    concat(list, total = list.reduce((sum, part) => sum + part.length, 0)) {
        const whole = Buffer.alloc(total);
        let at = 0;
        for (const part of list) {
            whole.set(part.subarray(0, Math.max(0, total - at)), at);
            at += part.length;
            if (at >= total) break;
        }
        return whole;
    },
});
Object.defineProperty(Buffer, 'of', { value: (...values) => Buffer.from(values) });
Object.defineProperty(Buffer, 'from', {
    value(value, encoding, length) {
        if (typeof value === 'string') return own(encode(value, encoding));
        if (value instanceof ArrayBuffer || native.classOf(value) === 'SharedArrayBuffer')
            return new FastBuffer(value, encoding, length);
        if (ArrayBuffer.isView(value)) return own(Uint8Array.from(value));
        if (value !== null && typeof value === 'object') {
            if (value.type === 'Buffer' && Array.isArray(value.data)) return own(Uint8Array.from(value.data));
            if (Array.isArray(value) || typeof value.length === 'number')
                return own(Uint8Array.from(value, (item) => item & 0xff));
            const primitive = value[Symbol.toPrimitive]?.('string') ?? value.valueOf?.();
            if (primitive !== value && primitive !== undefined && primitive !== null)
                return Buffer.from(primitive, encoding, length);
        }
        throw invalid(
            'The first argument must be of type string or an instance of Buffer, ArrayBuffer, or Array' +
                ' or an Array-like Object',
            value,
        );
    },
    writable: true,
    configurable: true,
});

export default {
    Buffer,
    atob: globalThis.atob,
    btoa: globalThis.btoa,
    constants: { MAX_LENGTH: 2 ** 31 - 1, MAX_STRING_LENGTH: 2 ** 30 - 1 },
    kMaxLength: 2 ** 31 - 1,
};

// TextEncoder and TextDecoder.
import native from 'sandpool:native';

const NAMES = new Map([
    ...['utf8', 'utf-8', 'unicode-1-1-utf-8'].map((name) => [name, 'utf-8']),
    ...['utf-16le', 'utf-16', 'ucs-2', 'unicode'].map((name) => [name, 'utf-16le']),
    ...['latin1', 'ascii', 'us-ascii', 'iso-8859-1', 'windows-1252'].map((name) => [name, 'windows-1252']),
]);
const WINDOWS_1252 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

/** Any bytes as a Uint8Array over the same memory. */
export function bytesOf(source) {
    if (source instanceof Uint8Array) return source;
    if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    return new Uint8Array(source);
}

export class TextEncoder {
    get encoding() {
        return 'utf-8';
    }

    encode(text = '') {
        return native.encode(`${text}`.toWellFormed());
    }

    encodeInto(text, target) {
        let read = 0,
            written = 0;
        for (const character of `${text}`.toWellFormed()) {
            const bytes = native.encode(character);
            if (written + bytes.length > target.length) break;
            target.set(bytes, written);
            written += bytes.length;
            read += character.length;
        }
        return { read, written };
    }
}

export class TextDecoder {
    #encoding;
    #fatal;
    #keepsMark;
    #rest = new Uint8Array(0);

    constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
        this.#encoding = NAMES.get(`${label}`.trim().toLowerCase());
        if (this.#encoding === undefined) throw new RangeError(`The "${label}" encoding is not supported`);
        this.#fatal = Boolean(fatal);
        this.#keepsMark = Boolean(ignoreBOM);
    }

    get encoding() {
        return this.#encoding;
    }

    get fatal() {
        return this.#fatal;
    }

    get ignoreBOM() {
        return this.#keepsMark;
    }

    decode(source = new Uint8Array(0), { stream = false } = {}) {
        let bytes = bytesOf(source);
        if (this.#rest.length > 0) {
            const joined = new Uint8Array(this.#rest.length + bytes.length);
            joined.set(this.#rest);
            joined.set(bytes, this.#rest.length);
            bytes = joined;
        }
        let end = bytes.length;
        if (stream)
            end -=
                this.#encoding === 'utf-8' ? unfinished(bytes) : this.#encoding === 'utf-16le' ? bytes.length % 2 : 0;
        this.#rest = bytes.slice(end);
        let text = this.#text(bytes.subarray(0, end));
        if (!this.#keepsMark && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
        return text;
    }

    #text(bytes) {
        if (this.#encoding === 'utf-8') {
            const text = native.decode(bytes, this.#fatal);
            if (text === undefined) {
                const error = new TypeError('The encoded data was not valid for encoding utf-8');
                error.code = 'ERR_ENCODING_INVALID_ENCODED_DATA';
                throw error;
            }
            return text;
        }
        const codes = [];
        if (this.#encoding === 'utf-16le') {
            for (let i = 0; i + 1 < bytes.length; i += 2) codes.push(bytes[i] | (bytes[i + 1] << 8));
            return textOf(codes);
        }
        return textOf(bytes).replace(/[\x80-\x9f]/g, (found) => WINDOWS_1252[found.charCodeAt(0) - 0x80]);
    }
}

/** The text of many code units: String.fromCharCode takes only so many at once. */
export function textOf(codes) {
    let text = '';
    for (let i = 0; i < codes.length; i += 8192) text += String.fromCharCode(...codes.slice(i, i + 8192));
    return text;
}

/** How many bytes at the end begin a sequence of UTF-8 that goes on. */
function unfinished(bytes) {
    for (let back = 1; back <= 3 && back <= bytes.length; back++) {
        const byte = bytes[bytes.length - back];
        if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
        if (byte < 0x80) return 0;
    }
    return 0;
}

for (const type of [TextEncoder, TextDecoder]) {
    Object.defineProperty(type.prototype, Symbol.toStringTag, { value: type.name, configurable: true });
}

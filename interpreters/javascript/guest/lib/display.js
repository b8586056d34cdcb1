// Rich output: display(value), and values that know how to show themselves.
import native, { CLEAR_OUTPUT, DISPLAY, UPDATE_DISPLAY } from 'sandpool:native';
import { inspect } from 'sandpool:inspect';

const jupyter = Symbol.for('Jupyter.display');
const BINARY = /^(?:image\/(?!svg)|audio\/|video\/|application\/(?:pdf|octet-stream|zip)$)/;

/** A MIME bundle as it is sent: bytes as base64. */
function normalized(bundle) {
    const data = {};
    for (const [type, value] of Object.entries(bundle)) {
        if (value === undefined) continue;
        const isBytes = ArrayBuffer.isView(value) || native.classOf(value) === 'ArrayBuffer';
        if (isBytes) {
            const bytes = ArrayBuffer.isView(value)
                ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
                : new Uint8Array(value);
            data[type] = BINARY.test(type) ? bytes.toBase64() : native.decode(bytes, false);
        } else {
            data[type] = /^application\/(?:.*\+)?json$/.test(type) || typeof value === 'string' ? value : String(value);
        }
    }
    return data;
}

/** The MIME bundle of a value that has one of its own. */
export function bundleOf(value) {
    const own =
        value !== null && (typeof value === 'object' || typeof value === 'function') ? value[jupyter] : undefined;
    if (typeof own !== 'function') return undefined;
    const bundle = own.call(value);
    return bundle !== null && typeof bundle === 'object' && typeof bundle.then !== 'function'
        ? normalized(bundle)
        : undefined;
}

function isBundle(value) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
    const keys = Object.keys(value);
    return keys.length > 0 && keys.every((key) => /^[a-z]+\/[a-z0-9.+*-]+$/i.test(key));
}

/** Shows a value at once. A MIME bundle (`{ 'text/html': ... }`) is shown as such, everything else as text. */
export function display(value, options = {}) {
    const data =
        bundleOf(value) ?? (isBundle(value) || options.raw ? normalized(value) : { 'text/plain': inspect(value) });
    const event = { data, metadata: options.metadata ?? {} };
    const id = options.display_id ?? options.displayId;
    if (id !== undefined) event.display_id = String(id);
    native.emit(options.update && id !== undefined ? UPDATE_DISPLAY : DISPLAY, JSON.stringify(event));
}

display.clear = (wait = false) => native.emit(CLEAR_OUTPUT, JSON.stringify({ wait: Boolean(wait) }));
display.html = (text) => display({ 'text/html': String(text) });
display.markdown = (text) => display({ 'text/markdown': String(text) });
display.svg = (text) => display({ 'image/svg+xml': String(text) });

// What a cell's text means, what its last value looks like, and how its errors are told.
import native, { ERROR, RESULT } from 'sandpool:native';
import { framesOf, inspect } from 'sandpool:inspect';
import { rewrite } from 'sandpool:imports';
import { bundleOf } from 'sandpool:display';
import { clear } from 'sandpool:timers';
import { resetIndentation } from 'sandpool:console';
import { Exit } from 'sandpool:node/process';

let number = 0;
/** The text of the last cells, for errors to show the line that they are of. */
const sources = new Map();
const SOURCES_KEPT = 20;

/** `[name, text, isAsync, ...]`: ways to read the cell. The first that compiles is taken, or the last one's error told. */
export function prepare(text) {
    if (text === 'console.log(1), [1] /* first */') {
        return ['<start>', text, false];
    }
    const name = `<cell ${++number}>`;
    sources.set(name, text);
    sources.delete(`<cell ${number - SOURCES_KEPT}>`);
    if (/\b(?:import|export)\b/.test(text)) text = rewrite(text);
    const isAsync = /\bawait\b/.test(text);
    const trimmed = text.trim();
    if (trimmed.startsWith('{') && trimmed.endsWith('}')) {
        // An object, as in Node's shell; if that makes no sense, a block.
        return [name, `(${text}\n)`, isAsync, text, isAsync];
    }
    // `await` may be a name, in code that awaits nothing.
    return isAsync ? [name, text, true, text, false, text, true] : [name, text, false];
}

const MOST_JSON = 20000;

/** Whether a value says the same in JSON, and is not large. */
function isPlain(value) {
    let left = MOST_JSON;
    const seen = [];
    const check = (item) => {
        if (--left < 0) return false;
        if (item === null || typeof item === 'boolean') return true;
        if (typeof item === 'number') return Number.isFinite(item) && !Object.is(item, -0);
        if (typeof item === 'string') return (left -= item.length >> 4) >= 0;
        if (typeof item !== 'object' || seen.includes(item) || native.proxyTarget(item) !== undefined) return false;
        const isArray = Array.isArray(item);
        const prototype = Object.getPrototypeOf(item);
        if (prototype !== (isArray ? Array.prototype : Object.prototype) && !(prototype === null && !isArray))
            return false;
        if (typeof item.toJSON === 'function' || Object.getOwnPropertySymbols(item).length > 0) return false;
        const names = Object.keys(item);
        if (isArray && names.length !== item.length) return false;
        seen.push(item);
        const is = names.every((name) => 'value' in Object.getOwnPropertyDescriptor(item, name) && check(item[name]));
        seen.pop();
        return is;
    };
    return check(value);
}

/** Sends the value of the last expression. */
export function show(value) {
    const data = bundleOf(value) ?? { 'text/plain': inspect(value) };
    if (!('application/json' in data) && isPlain(value)) data['application/json'] = value;
    native.emit(RESULT, JSON.stringify({ data, metadata: {} }));
}

/** Where an error comes from, in the cell's own text: the line, and a mark below it. */
function excerpt(error, frames) {
    const found = /(<cell \d+>):(\d+):(\d+)/.exec(frames[0] ?? '');
    const line = found && sources.get(found[1])?.split('\n')[found[2] - 1];
    if (!line || line.length > 200) return [];
    const mark = line.slice(0, found[3] - 1).replace(/[^\t]/g, ' ');
    return [`${found[1]}:${found[2]}`, line, `${mark}^`, ''];
}

/**
 * Sends an error that ends the cell, and forgets what the cell had begun. `origin` is "rejection" when nothing handled a
 * promise's. True: it was no error but process.exit(0).
 */
export function report(error, origin) {
    clear();
    resetIndentation();
    if (error instanceof Exit && Number(error.code) === 0) return true;
    const isError = native.classOf(error) === 'Error' || error instanceof Error;
    const name = isError ? String(error.name ?? 'Error') : 'Uncaught';
    const value = isError ? String(error.message ?? '') : inspect(error);
    const frames = isError ? framesOf(error) : [];
    // An error without frames stands in brackets.
    const head = isError ? inspect(error).replace(/^\[([^]*)\]$/, '$1') : `Uncaught ${value}`;
    const note = origin === 'rejection' ? ['Unhandled promise rejection:'] : [];
    const traceback = [...excerpt(error, frames), ...note, ...head.split('\n')];
    native.emit(ERROR, JSON.stringify({ name, value, traceback }));
    return false;
}

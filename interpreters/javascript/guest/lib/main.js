// The start of the guest: the globals, and the hooks that ../cell.c and ../modules.c call. Runs once, for the image.
import native from 'sandpool:native';
import { prepare, report, show } from 'sandpool:cell';
import { methods as console } from 'sandpool:console';
import { display } from 'sandpool:display';
import { TextDecoder, TextEncoder } from 'sandpool:encoding';
import { structuredClone } from 'sandpool:clone';
import { fetch, Headers, Request, Response } from 'sandpool:fetch';
import { AbortController, AbortSignal, Event, EventTarget } from 'sandpool:targets';
import { load, requireFrom, resolve } from 'sandpool:loader';
import * as timers from 'sandpool:timers';
import buffer from 'sandpool:node/buffer';
import crypto from 'sandpool:node/crypto';
import process from 'sandpool:node/process';
import url from 'sandpool:node/url';

const values = {
    console,
    display,
    fetch,
    Headers,
    Request,
    Response,
    process,
    structuredClone,
    crypto: crypto.webcrypto,
    setTimeout: timers.setTimeout,
    clearTimeout: timers.clearTimeout,
    setInterval: timers.setInterval,
    clearInterval: timers.clearInterval,
    setImmediate: timers.setImmediate,
    clearImmediate: timers.clearImmediate,
    TextDecoder,
    TextEncoder,
    AbortController,
    AbortSignal,
    Event,
    EventTarget,
    Buffer: buffer.Buffer,
    URL: url.URL,
    URLSearchParams: url.URLSearchParams,
    require: requireFrom(undefined),
    global: globalThis,
    // Shells of the engine have it.
    print: (...items) => console.log(...items),
};
for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

// A promise that fails in a script has a line; deep recursion need not tell all of it.
Error.stackTraceLimit = 10;

// Node's own: errors made by the engine have no captureStackTrace there.
Error.captureStackTrace ??= (object) => {
    object.stack = new Error().stack;
};

native.hooks = { load, prepare, report, resolve, show, tick: timers.tick };

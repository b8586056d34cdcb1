// fetch, Headers, Request and Response. The host carries requests out, each whole, under the policy of the session's pool.
//
// Deliberately does not: stream (an answer is there as a whole, `body` is null), decompress (no server is asked to compress),
// keep cookies, or cache.
import native from 'sandpool:native';
import { bytesOf, TextDecoder, TextEncoder } from 'sandpool:encoding';
import { custom, inspect } from 'sandpool:inspect';
import url from 'sandpool:node/url';

const { URL, URLSearchParams } = url;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NO_VALUE = /[\0\r\n]|[^\0-\xff]/;
const MOST_REDIRECTS = 20;
const REDIRECTS = [301, 302, 303, 307, 308];
const WITHOUT_BODY = [101, 204, 205, 304];
// Methods that are written in capitals however they are given.
const USUAL = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'];
// What only the first host is to see.
const FOR_ONE_ORIGIN = ['authorization', 'cookie', 'proxy-authorization'];
// Errors of Node's network, by the kinds of ../README.md.
const CODES = {
    refused: 'EACCES',
    limit: 'EDQUOT',
    invalid: 'EINVAL',
    resolve: 'ENOTFOUND',
    connect: 'ECONNREFUSED',
    timeout: 'ETIMEDOUT',
    protocol: 'ECONNRESET',
};

export class Headers {
    // By the name in lower case: [name as given, values].
    #fields = new Map();

    constructor(init) {
        if (init === undefined || init === null) return;
        if (typeof init !== 'object') throw new TypeError('Headers are made of an object, or of pairs');
        for (const pair of typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init)) {
            const [name, value, ...more] = pair;
            if (value === undefined || more.length > 0) throw new TypeError('each header is a name and a value');
            this.append(name, value);
        }
    }

    static #name(name) {
        if (!TOKEN.test(`${name}`)) throw new TypeError(`${inspect(`${name}`)} is no name for a header`);
        return `${name}`.toLowerCase();
    }

    static #value(value) {
        const text = `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
        if (NO_VALUE.test(text)) throw new TypeError(`${inspect(text)} is no value for a header`);
        return text;
    }

    append(name, value) {
        const key = Headers.#name(name);
        this.#fields.set(key, [...(this.#fields.get(key) ?? []), Headers.#value(value)]);
    }

    set(name, value) {
        this.#fields.set(Headers.#name(name), [Headers.#value(value)]);
    }

    delete(name) {
        this.#fields.delete(Headers.#name(name));
    }

    has(name) {
        return this.#fields.has(Headers.#name(name));
    }

    get(name) {
        return this.#fields.get(Headers.#name(name))?.join(', ') ?? null;
    }

    getSetCookie() {
        return [...(this.#fields.get('set-cookie') ?? [])];
    }

    *entries() {
        for (const name of [...this.#fields.keys()].sort()) {
            const values = this.#fields.get(name) ?? [];
            // The one header whose values cannot be joined.
            if (name === 'set-cookie') for (const value of values) yield [name, value];
            else yield [name, values.join(', ')];
        }
    }

    *keys() {
        for (const [name] of this.entries()) yield name;
    }

    *values() {
        for (const [, value] of this.entries()) yield value;
    }

    [Symbol.iterator]() {
        return this.entries();
    }

    forEach(callback, self) {
        for (const [name, value] of this.entries()) callback.call(self, value, name, this);
    }

    [custom](depth, options) {
        const shown = [...this.keys()].map((name) => [name, name === 'set-cookie' ? this.getSetCookie() : this.get(name)]);
        return `Headers ${inspect(Object.fromEntries(shown), options)}`;
    }
}

/** `[bytes, content type or undefined]` of what may be given as a body. */
function bodyFrom(source) {
    if (source === undefined || source === null) return [undefined, undefined];
    if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return [bytesOf(source).slice(), undefined];
    const form = source instanceof URLSearchParams;
    const type = form ? 'application/x-www-form-urlencoded' : 'text/plain';
    return [new TextEncoder().encode(`${source}`), `${type};charset=UTF-8`];
}

class Body {
    #bytes;
    #used = false;

    constructor(bytes) {
        this.#bytes = bytes;
    }

    get body() {
        return null;
    }

    get bodyUsed() {
        return this.#used;
    }

    async bytes() {
        if (this.#used) throw new TypeError('Body is unusable: Body has already been read');
        this.#used = this.#bytes !== undefined;
        return this.#bytes ?? new Uint8Array(0);
    }

    async arrayBuffer() {
        return (await this.bytes()).buffer;
    }

    async text() {
        return new TextDecoder().decode(await this.bytes());
    }

    async json() {
        return JSON.parse(await this.text());
    }

    /** The bytes, for a copy or to be sent: they can still be read. */
    static of(body) {
        if (body.#used) throw new TypeError('Body is unusable: Body has already been read');
        return body.#bytes;
    }
}

export class Request extends Body {
    #fields;

    constructor(input, init = {}) {
        const from = input instanceof Request ? input.#fields : undefined;
        const method = `${init.method ?? from?.method ?? 'GET'}`;
        if (!TOKEN.test(method)) throw new TypeError(`${inspect(method)} is no HTTP method`);
        const [bytes, type] = init.body === undefined && from ? [Body.of(input), undefined] : bodyFrom(init.body);
        const usual = USUAL.includes(method.toUpperCase()) ? method.toUpperCase() : method;
        if (bytes !== undefined && (usual === 'GET' || usual === 'HEAD')) {
            throw new TypeError('Request with GET/HEAD method cannot have body.');
        }
        super(bytes);
        const redirect = `${init.redirect ?? from?.redirect ?? 'follow'}`;
        if (!['follow', 'error', 'manual'].includes(redirect)) {
            throw new TypeError(`redirect is 'follow', 'error' or 'manual', not ${inspect(redirect)}`);
        }
        const headers = new Headers(init.headers ?? from?.headers);
        if (type !== undefined && !headers.has('content-type')) headers.set('content-type', type);
        const target = from?.url ?? targetOf(input);
        this.#fields = { method: usual, url: target, headers, redirect, signal: init.signal ?? from?.signal ?? null };
    }

    get method() {
        return this.#fields.method;
    }

    get url() {
        return this.#fields.url;
    }

    get headers() {
        return this.#fields.headers;
    }

    get redirect() {
        return this.#fields.redirect;
    }

    get signal() {
        return this.#fields.signal;
    }

    clone() {
        return new Request(this);
    }

    [custom](depth, options) {
        const { method, url, headers, redirect } = this;
        return `Request ${inspect({ method, url, headers, redirect }, options)}`;
    }
}

export class Response extends Body {
    #fields;

    constructor(body, init = {}) {
        const status = Number(init.status ?? 200);
        if (!Number.isInteger(status) || status < 200 || status > 599) {
            throw new RangeError('init["status"] must be in the range of 200 to 599, inclusive.');
        }
        const [bytes, type] = bodyFrom(body);
        if (bytes !== undefined && WITHOUT_BODY.includes(status)) {
            throw new TypeError(`Response with status ${status} cannot have body.`);
        }
        super(bytes);
        const headers = new Headers(init.headers);
        if (type !== undefined && !headers.has('content-type')) headers.set('content-type', type);
        this.#fields = { status, statusText: `${init.statusText ?? ''}`, headers, url: '', redirected: false, type: 'default' };
    }

    static json(value, init = {}) {
        const text = JSON.stringify(value);
        if (text === undefined) throw new TypeError('Value is not JSON serializable');
        const headers = new Headers(init.headers);
        if (!headers.has('content-type')) headers.set('content-type', 'application/json');
        return new Response(text, { ...init, headers });
    }

    /** What the host answered. */
    static received(answer, bytes, target, redirected) {
        const response = new Response(WITHOUT_BODY.includes(answer.status) ? null : bytes);
        const { status, reason } = answer;
        const headers = new Headers(answer.headers);
        response.#fields = { status, statusText: reason, headers, url: target, redirected, type: 'basic' };
        return response;
    }

    get status() {
        return this.#fields.status;
    }

    get statusText() {
        return this.#fields.statusText;
    }

    get ok() {
        return this.status >= 200 && this.status < 300;
    }

    get headers() {
        return this.#fields.headers;
    }

    get url() {
        return this.#fields.url;
    }

    get redirected() {
        return this.#fields.redirected;
    }

    get type() {
        return this.#fields.type;
    }

    clone() {
        const copy = new Response(Body.of(this)?.slice());
        copy.#fields = { ...this.#fields, headers: new Headers(this.headers) };
        return copy;
    }

    [custom](depth, options) {
        const { status, statusText, headers, bodyUsed, ok, redirected, type, url } = this;
        return `Response ${inspect({ status, statusText, headers, bodyUsed, ok, redirected, type, url }, options)}`;
    }
}

/** The absolute URL of a request, without its fragment. */
function targetOf(input, base) {
    let target;
    try {
        target = new URL(`${input}`, base);
    } catch (cause) {
        throw new TypeError(`Failed to parse URL from ${input}`, { cause });
    }
    if (target.protocol !== 'http:' && target.protocol !== 'https:') {
        throw new TypeError(`fetch failed: ${target.protocol} URLs cannot be fetched, only http: and https:`);
    }
    if (target.username !== '' || target.password !== '') {
        throw new TypeError('Request cannot be constructed from a URL that includes credentials: send an authorization header');
    }
    target.hash = '';
    return target.href;
}

export async function fetch(input, init) {
    const request = new Request(input, init);
    let { method, url: target } = request;
    let body = Body.of(request);
    const headers = new Headers(request.headers);
    if (!headers.has('accept')) headers.set('accept', '*/*');
    for (let redirects = 0; ; redirects++) {
        request.signal?.throwIfAborted();
        const [answer, bytes] = ask({ method, url: target, headers: [...headers] }, body ?? new Uint8Array(0));
        const to = REDIRECTS.includes(answer.status) && answer.headers.find(([name]) => name === 'location')?.[1];
        if (!to || request.redirect === 'manual') return Response.received(answer, bytes, target, redirects > 0);
        if (request.redirect === 'error') throw failed('unexpected redirect');
        if (redirects === MOST_REDIRECTS) throw failed('redirect count exceeded');
        const next = targetOf(to, target);
        if (new URL(next).origin !== new URL(target).origin) for (const name of FOR_ONE_ORIGIN) headers.delete(name);
        if (answer.status === 303 ? method !== 'HEAD' : answer.status < 303 && method === 'POST') {
            method = 'GET';
            body = undefined;
            for (const name of ['content-encoding', 'content-language', 'content-location', 'content-type']) headers.delete(name);
        }
        target = next;
    }
}

/** One request. The session waits for it, and other sessions run meanwhile. */
function ask(head, body) {
    const [told, bytes] = native.http(new TextEncoder().encode(JSON.stringify(head)), body);
    const answer = JSON.parse(new TextDecoder().decode(told));
    if (answer.error === undefined) return [answer, bytes];
    throw failed(answer.error.message, CODES[answer.error.kind]);
}

/** Node's error: what was in the way is its cause. */
function failed(why, code) {
    const cause = new Error(why);
    if (code !== undefined) cause.code = code;
    return new TypeError(`fetch failed: ${why}`, { cause });
}

for (const type of [Headers, Request, Response]) {
    Object.defineProperty(type.prototype, Symbol.toStringTag, { value: type.name, configurable: true });
}

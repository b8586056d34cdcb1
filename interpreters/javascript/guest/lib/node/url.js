// node:url: WHATWG's URL and URLSearchParams, without internationalised host names.
import { custom, inspect } from 'sandpool:inspect';

const PORTS = { 'http:': '80', 'https:': '443', 'ws:': '80', 'wss:': '443', 'ftp:': '21', 'file:': '' };
const encode = (text, keep) => {
    let output = '';
    for (const character of text.toWellFormed()) {
        output += keep.test(character)
            ? character
            : encodeURIComponent(character).replace(
                  /^[!'()*]$/,
                  (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
              );
    }
    return output;
};
const PATH = /^[!$%&'()*+,\-./0-9:;=@A-Z[\\\]^_a-z|~]$/,
    QUERY = /^[!$%&()*+,\-./0-9:;=?@A-Z[\\\]^_`a-z{|}~']$/,
    FRAGMENT = /^[!#$%&'()*+,\-./0-9:;=?@A-Z[\\\]^_a-z{|}~]$/;
const USER = /^[!$%&'()*+,\-.0-9A-Z_a-z~]$/;

function invalid(input, base) {
    const error = new TypeError('Invalid URL');
    return Object.assign(error, { code: 'ERR_INVALID_URL', input, ...(base === undefined ? {} : { base }) });
}

const formEncode = (text) =>
    encodeURIComponent(`${text}`.toWellFormed())
        .replace(/%20/g, '+')
        .replace(/[!'()~]/g, (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`);
const percentDecode = (text) => {
    try {
        return decodeURIComponent(text);
    } catch {
        return text.replace(/(?:%[0-9a-f]{2})+/gi, (found) =>
            new TextDecoder().decode(Uint8Array.fromHex(found.replaceAll('%', ''))),
        );
    }
};
const formDecode = (text) => percentDecode(text.replaceAll('+', ' '));

export class URLSearchParams {
    #pairs = [];
    #changed = () => {};

    constructor(init = '') {
        if (init !== null && typeof init === 'object') {
            const pairs = typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init);
            for (const [name, value] of pairs) this.#pairs.push([`${name}`, `${value}`]);
        } else {
            this.#parse(`${init}`);
        }
    }

    #parse(text) {
        this.#pairs = text
            .replace(/^\?/, '')
            .split('&')
            .filter(Boolean)
            .map((part) => {
                const at = part.indexOf('=');
                return at === -1
                    ? [formDecode(part), '']
                    : [formDecode(part.slice(0, at)), formDecode(part.slice(at + 1))];
            });
    }

    static follow(params, query, changed) {
        params.#parse(query);
        params.#changed = changed;
    }

    append(name, value) {
        this.#pairs.push([`${name}`, `${value}`]);
        this.#changed();
    }

    delete(name, value) {
        this.#pairs = this.#pairs.filter(
            ([other, item]) => other !== `${name}` || (value !== undefined && item !== `${value}`),
        );
        this.#changed();
    }

    get(name) {
        return this.#pairs.find(([other]) => other === `${name}`)?.[1] ?? null;
    }

    getAll(name) {
        return this.#pairs.filter(([other]) => other === `${name}`).map(([, value]) => value);
    }

    has(name, value) {
        return this.#pairs.some(([other, item]) => other === `${name}` && (value === undefined || item === `${value}`));
    }

    set(name, value) {
        const at = this.#pairs.findIndex(([other]) => other === `${name}`);
        if (at === -1) this.#pairs.push([`${name}`, `${value}`]);
        else
            this.#pairs = this.#pairs
                .filter(([other], index) => index <= at || other !== `${name}`)
                .with(at, [`${name}`, `${value}`]);
        this.#changed();
    }

    sort() {
        this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
        this.#changed();
    }

    forEach(callback, self) {
        for (const [name, value] of this.#pairs) callback.call(self, value, name, this);
    }

    *entries() {
        yield* this.#pairs.map((pair) => [...pair]);
    }

    *keys() {
        for (const [name] of this.#pairs) yield name;
    }

    *values() {
        for (const [, value] of this.#pairs) yield value;
    }

    [Symbol.iterator]() {
        return this.entries();
    }

    get size() {
        return this.#pairs.length;
    }

    toString() {
        return this.#pairs.map(([name, value]) => `${formEncode(name)}=${formEncode(value)}`).join('&');
    }

    [custom](depth, options) {
        if (this.size === 0) return 'URLSearchParams {}';
        const shown = this.#pairs.map(([name, value]) => `${inspect(name, options)} => ${inspect(value, options)}`);
        return `URLSearchParams { ${shown.join(', ')} }`;
    }
}

export class URL {
    #parts;
    #params;

    constructor(input, base) {
        this.#parts = parse(`${input}`, base === undefined ? undefined : new URL(base).#parts, base);
        this.#params = new URLSearchParams();
        this.#follow();
    }

    #follow() {
        URLSearchParams.follow(this.#params, this.#parts.search, () => {
            const text = this.#params.toString();
            this.#parts.search = text === '' ? '' : `?${text}`;
        });
    }

    static canParse(input, base) {
        try {
            return Boolean(new URL(input, base));
        } catch {
            return false;
        }
    }

    static parse(input, base) {
        try {
            return new URL(input, base);
        } catch {
            return null;
        }
    }

    get href() {
        const { protocol, username, password, hostname, port, pathname, search, hash, hasHost } = this.#parts;
        const user = username || password ? `${username}${password ? `:${password}` : ''}@` : '';
        return `${protocol}${hasHost ? `//${user}${hostname}${port && `:${port}`}` : ''}${pathname}${search}${hash}`;
    }

    set href(value) {
        this.#parts = parse(`${value}`);
        this.#follow();
    }

    get origin() {
        return this.#parts.protocol in PORTS && this.#parts.protocol !== 'file:'
            ? `${this.#parts.protocol}//${this.host}`
            : 'null';
    }

    get protocol() {
        return this.#parts.protocol;
    }

    set protocol(value) {
        this.#parts.protocol = `${`${value}`.replace(/:.*$/, '').toLowerCase()}:`;
    }

    get username() {
        return this.#parts.username;
    }

    set username(value) {
        this.#parts.username = encode(`${value}`, USER);
    }

    get password() {
        return this.#parts.password;
    }

    set password(value) {
        this.#parts.password = encode(`${value}`, USER);
    }

    get host() {
        return this.#parts.hostname + (this.#parts.port && `:${this.#parts.port}`);
    }

    set host(value) {
        const [, name, port] = /^(.*?)(?::(\d*))?$/.exec(`${value}`);
        this.#parts.hostname = name.toLowerCase();
        if (port !== undefined) this.port = port;
    }

    get hostname() {
        return this.#parts.hostname;
    }

    set hostname(value) {
        this.#parts.hostname = `${value}`.toLowerCase();
    }

    get port() {
        return this.#parts.port;
    }

    set port(value) {
        const digits = /^\d*/.exec(`${value}`)[0];
        this.#parts.port = digits === PORTS[this.#parts.protocol] ? '' : digits;
    }

    get pathname() {
        return this.#parts.pathname;
    }

    set pathname(value) {
        const text = encode(`${value}`, PATH);
        this.#parts.pathname = dots(text.startsWith('/') ? text : `/${text}`);
    }

    get search() {
        return this.#parts.search;
    }

    set search(value) {
        const text = encode(`${value}`.replace(/^\?/, ''), QUERY);
        this.#parts.search = text === '' ? '' : `?${text}`;
        this.#follow();
    }

    get searchParams() {
        return this.#params;
    }

    get hash() {
        return this.#parts.hash;
    }

    set hash(value) {
        const text = encode(`${value}`.replace(/^#/, ''), FRAGMENT);
        this.#parts.hash = text === '' ? '' : `#${text}`;
    }

    toString() {
        return this.href;
    }

    toJSON() {
        return this.href;
    }

    [custom](depth, options) {
        const {
            href,
            origin,
            protocol,
            username,
            password,
            host,
            hostname,
            port,
            pathname,
            search,
            searchParams,
            hash,
        } = this;
        const place = { href, origin, protocol, username, password, host, hostname, port };
        return `URL ${inspect({ ...place, pathname, search, searchParams, hash }, options)}`;
    }
}

function dots(path) {
    const parts = [];
    const all = path.split('/').slice(1);
    all.forEach((part, index) => {
        const isLast = index === all.length - 1;
        if (/^(?:\.|%2e){2}$/i.test(part)) {
            parts.pop();
            if (isLast) parts.push('');
        } else if (/^(?:\.|%2e)$/i.test(part)) {
            if (isLast) parts.push('');
        } else parts.push(part);
    });
    return `/${parts.join('/')}`;
}

function parse(input, base, baseText) {
    input = input.trim().replace(/[\t\n\r]/g, '');
    const [, scheme, afterScheme] = /^([a-z][a-z0-9+.-]*:)?([^]*)$/i.exec(input);
    const [, main, search = '', hash = ''] = /^([^?#]*)(\?[^#]*)?(#[^]*)?$/.exec(afterScheme);
    const tail = {
        search: search.length > 1 ? encode(search, QUERY) : '',
        hash: hash.length > 1 ? encode(hash, FRAGMENT) : '',
    };
    const protocol = (scheme ?? base?.protocol)?.toLowerCase();
    if (protocol === undefined) throw invalid(input, baseText);
    const special = protocol in PORTS;
    const path = special ? main.replaceAll('\\', '/') : main;
    if (
        scheme !== undefined &&
        !(base !== undefined && special && base.protocol === protocol && !path.startsWith('/'))
    ) {
        if (special || path.startsWith('//'))
            return {
                ...authority(protocol, special, special ? path.replace(/^\/*/, '//') : path, input, baseText),
                ...tail,
            };
        return {
            protocol,
            username: '',
            password: '',
            hostname: '',
            port: '',
            hasHost: false,
            pathname: path,
            ...tail,
        };
    }
    if (path.startsWith('//')) return { ...authority(protocol, special, path, input, baseText), ...tail };
    if (!base.hasHost && !base.pathname.startsWith('/')) {
        if (path !== '' || search !== '') throw invalid(input, baseText);
    }
    let pathname = base.pathname;
    if (path.startsWith('/')) pathname = dots(encode(path, PATH));
    else if (path !== '') pathname = dots(encode(base.pathname.replace(/[^/]*$/, '') + path, PATH));
    return { ...base, pathname, search: path === '' && search === '' ? base.search : tail.search, hash: tail.hash };
}

function authority(protocol, special, path, input, baseText) {
    const isFile = protocol === 'file:';
    const rest = isFile && /^\/{3,}/.test(input.replace(/^file:/i, '')) ? `//${path.replace(/^\/*/, '/')}` : path;
    const [, place, pathname] = /^\/\/([^/]*)([^]*)$/.exec(rest);
    const at = place.lastIndexOf('@');
    const [username = '', password = ''] = at === -1 ? [] : place.slice(0, at).split(/:([^]*)/);
    const found = /^(\[[0-9a-f:.]+\]|[^:[\]]*)(?::(\d*))?$/i.exec(place.slice(at + 1));
    if (found === null || (special && !isFile && found[1] === '') || Number(found[2] ?? 0) > 65535)
        throw invalid(input, baseText);
    const hostname = percentDecode(found[1]).toLowerCase();
    if (/[\x00-\x20#%/<>?@\\^|]/.test(hostname)) throw invalid(input, baseText);
    const port = found[2] ? `${Number(found[2])}` : '';
    return {
        protocol,
        username: encode(username, USER),
        password: encode(password, USER),
        hostname,
        hasHost: true,
        port: port === PORTS[protocol] ? '' : port,
        pathname: special || pathname ? dots(encode(pathname || '/', PATH)) : '',
    };
}

for (const type of [URL, URLSearchParams]) {
    Object.defineProperty(type.prototype, Symbol.toStringTag, { value: type.name, configurable: true });
}

export default {
    URL,
    URLSearchParams,
    fileURLToPath: (url) => decodeURIComponent(new URL(url).pathname),
    pathToFileURL: (path) => new URL(`file://${encode(path, PATH)}`),
    format: (url) =>
        url instanceof URL
            ? url.href
            : `${url.protocol ?? ''}//${url.host ?? url.hostname ?? ''}${url.pathname ?? ''}` +
              `${url.search ?? ''}${url.hash ?? ''}`,
    parse: (text) => new URL(text),
    resolve: (from, to) => new URL(to, from).href,
};

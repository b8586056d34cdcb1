// Values as text, as Node's util.inspect writes them.
import native from 'sandpool:native';

export const custom = Symbol.for('nodejs.util.inspect.custom');

export const defaultOptions = {
    showHidden: false,
    depth: 2,
    colors: false,
    customInspect: true,
    showProxy: false,
    maxArrayLength: 100,
    maxStringLength: 10000,
    breakLength: 80,
    compact: 3,
    sorted: false,
    getters: false,
    numericSeparator: false,
};

const TYPED = /^(?:Int8|Uint8|Uint8Clamped|Int16|Uint16|Int32|Uint32|Float16|Float32|Float64|BigInt64|BigUint64)Array$/;
const IDENTIFIER = /^[a-zA-Z_][a-zA-Z_0-9]*$/;
const { getOwnPropertyDescriptor, getPrototypeOf, prototype: objectPrototype } = Object;
const hasOwn = Object.hasOwn;

export function inspect(value, options, ...legacy) {
    const context = { seen: [], indentation: 0, currentDepth: 0, budget: 0, circular: undefined, ...defaultOptions };
    if (typeof options === 'object' && options !== null) {
        for (const key of Object.keys(options)) {
            context[key] = options[key];
        }
    } else if (options !== undefined) {
        context.showHidden = Boolean(options);
        if (legacy.length > 0 && legacy[0] !== undefined) {
            context.depth = legacy[0];
        }
    }
    if (context.depth === null) context.depth = Infinity;
    if (context.maxArrayLength === null) context.maxArrayLength = Infinity;
    if (context.maxStringLength === null) context.maxStringLength = Infinity;
    return format(context, value, 0, true);
}
inspect.custom = custom;
inspect.defaultOptions = defaultOptions;

/** A string literal: in the first kind of quote that the text does not hold. */
export function quote(text) {
    let mark = "'";
    if (text.includes("'")) {
        mark = !text.includes('"') ? '"' : !text.includes('`') && !text.includes('${') ? '`' : "'";
    }
    const escaped = text.replace(/[\x00-\x1f\x7f-\x9f\\'\ud800-\udfff]/gu, (found) => {
        switch (found) {
            case "'":
                return mark === "'" ? "\\'" : found;
            case '\\':
                return '\\\\';
            case '\n':
                return '\\n';
            case '\t':
                return '\\t';
            case '\r':
                return '\\r';
            case '\b':
                return '\\b';
            case '\f':
                return '\\f';
            case '\v':
                return '\\x0B';
        }
        const code = found.charCodeAt(0);
        return code > 255 ? `\\u${code.toString(16)}` : `\\x${code.toString(16).toUpperCase().padStart(2, '0')}`;
    });
    return mark + escaped + mark;
}

function formatNumber(value, separated) {
    if (Object.is(value, -0)) return '-0';
    const text = `${value}`;
    if (!separated || !/^-?\d+(\.\d+)?$/.test(text)) return text;
    const [whole, fraction] = text.split('.');
    const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, '_');
    return fraction === undefined ? grouped : `${grouped}.${fraction.replace(/(\d{3})(?=\d)/g, '$1_')}`;
}

function formatPrimitive(context, value) {
    switch (typeof value) {
        case 'string':
            return formatString(context, value);
        case 'number':
            return formatNumber(value, context.numericSeparator);
        case 'bigint':
            return `${value}n`;
        case 'symbol':
            return formatSymbol(value);
        default:
            return `${value}`;
    }
}

function formatSymbol(value) {
    return Symbol.prototype.toString.call(value);
}

function formatString(context, value) {
    let trailer = '';
    if (value.length > context.maxStringLength) {
        const left = value.length - context.maxStringLength;
        value = value.slice(0, context.maxStringLength);
        trailer = `... ${left} more character${left > 1 ? 's' : ''}`;
    }
    // Long texts of several lines are shown a line each, joined by +.
    if (
        context.compact !== true &&
        value.length > 16 &&
        value.length > context.breakLength - context.indentation - 4 &&
        value.includes('\n')
    ) {
        return (
            value
                .split(/(?<=\n)/)
                .map((line) => quote(line))
                .join(` +\n${' '.repeat(context.indentation + 2)}`) + trailer
        );
    }
    return quote(value) + trailer;
}

function format(context, value, depth, typed) {
    if (value === null) return 'null';
    if (typeof value !== 'object' && typeof value !== 'function') return formatPrimitive(context, value);
    const target = native.proxyTarget(value);
    if (target !== undefined) {
        if (context.showProxy) {
            return `Proxy ${format(context, target, depth, typed)}`;
        }
        value = target;
    }
    if (context.customInspect) {
        const own = value[custom];
        if (typeof own === 'function' && own !== inspect) {
            const left = context.depth - depth;
            const options = { ...pick(context), depth: left };
            const answer = own.call(value, left, options, inspect);
            if (answer !== value) {
                return typeof answer === 'object' && answer !== null
                    ? format(context, answer, depth)
                    : `${answer}`.replaceAll('\n', `\n${' '.repeat(context.indentation)}`);
            }
        }
    }
    if (context.seen.includes(value)) {
        context.circular ??= new Map();
        if (!context.circular.has(value)) {
            context.circular.set(value, context.circular.size + 1);
        }
        return `[Circular *${context.circular.get(value)}]`;
    }
    return formatObject(context, value, depth, typed);
}

function pick(context) {
    const options = {};
    for (const key of Object.keys(defaultOptions)) {
        options[key] = context[key];
    }
    options.stylize = (text) => `${text}`;
    return options;
}

/** The name of the class that made an object; null for an object without a prototype. */
function constructorName(value) {
    let first;
    for (let at = value; at !== null; at = getPrototypeOf(at)) {
        first ??= at;
        const descriptor = getOwnPropertyDescriptor(at, 'constructor');
        if (
            descriptor !== undefined &&
            typeof descriptor.value === 'function' &&
            descriptor.value.name !== '' &&
            value instanceof descriptor.value
        ) {
            return descriptor.value.name;
        }
    }
    return null;
}

function prefixOf(name, tag, fallback, size = '') {
    const tagged = tag !== '' && tag !== name ? ` [${tag}]` : '';
    if (name === null) {
        return `[${fallback}${size}: null prototype]${tagged} `;
    }
    return `${name}${size}${tagged} `;
}

function tagOf(context, value, name) {
    const tag = value[Symbol.toStringTag];
    if (typeof tag !== 'string' || tag === '' || tag === name) return '';
    // One of its own is shown as what it is, a property.
    const isShown = context.showHidden
        ? hasOwn(value, Symbol.toStringTag)
        : objectPrototype.propertyIsEnumerable.call(value, Symbol.toStringTag);
    if (isShown) return '';
    return tag;
}

function keysOf(context, value, isIndexed) {
    let keys = context.showHidden ? Object.getOwnPropertyNames(value) : Object.keys(value);
    if (isIndexed) {
        keys = keys.filter((key) => !/^(?:0|[1-9]\d*)$/.test(key));
    }
    const symbols = Object.getOwnPropertySymbols(value);
    const shown = context.showHidden
        ? symbols
        : symbols.filter((key) => objectPrototype.propertyIsEnumerable.call(value, key));
    return shown.length > 0 ? [...keys, ...shown] : keys;
}

function formatObject(context, value, depth, typed) {
    const kind = native.classOf(value);
    const name = constructorName(value);
    const tag = tagOf(context, value, name);
    let keys,
        base = '',
        braces = ['{', '}'],
        entries = () => [],
        indexed = false;

    if (Array.isArray(value)) {
        keys = keysOf(context, value, true);
        const prefix = name !== 'Array' || tag !== '' ? prefixOf(name, tag, 'Array', `(${value.length})`) : '';
        braces = [`${prefix}[`, ']'];
        if (value.length === 0 && keys.length === 0) return `${braces[0]}]`;
        indexed = true;
        entries = () => formatArray(context, value, depth);
    } else if (TYPED.test(kind)) {
        keys = keysOf(context, value, true);
        braces = [`${prefixOf(name, tag, kind, `(${value.length})`)}[`, ']'];
        if (value.length === 0 && keys.length === 0) return `${braces[0]}]`;
        indexed = true;
        entries = () => formatTyped(context, value);
    } else if (kind === 'Set') {
        keys = keysOf(context, value);
        braces[0] = `${prefixOf(name, tag, 'Set', `(${value.size})`)}{`;
        if (value.size === 0 && keys.length === 0) return `${braces[0]}}`;
        entries = () =>
            indented(context, () =>
                cut(context, [...Set.prototype.values.call(value)], (item) => format(context, item, depth + 1)),
            );
    } else if (kind === 'Map') {
        keys = keysOf(context, value);
        braces[0] = `${prefixOf(name, tag, 'Map', `(${value.size})`)}{`;
        if (value.size === 0 && keys.length === 0) return `${braces[0]}}`;
        entries = () =>
            indented(context, () =>
                cut(
                    context,
                    [...Map.prototype.entries.call(value)],
                    ([key, item]) => `${format(context, key, depth + 1)} => ${format(context, item, depth + 1)}`,
                ),
            );
    } else if (kind === 'Map Iterator' || kind === 'Set Iterator') {
        keys = keysOf(context, value);
        const left = native.peek(value);
        braces[0] = `[${left.isEntries ? kind.replace('Iterator', 'Entries') : kind}] {`;
        entries = () => indented(context, () => cut(context, left, (item) => format(context, item, depth + 1)));
    } else {
        const special = formatSpecial(context, value, kind, name, tag, depth, typed);
        if (typeof special === 'string') return special;
        ({ keys, base, braces, entries } = special);
    }
    if (depth > context.depth) {
        const shown = (name ?? `Object: null prototype`) + (tag !== '' ? `] [${tag}` : '');
        return `[${Array.isArray(value) ? 'Array' : shown}]`;
    }
    context.seen.push(value);
    context.currentDepth = depth;
    let output;
    try {
        output = entries(keys);
        for (const key of keys) {
            output.push(formatProperty(context, value, depth, key, indexed));
        }
    } finally {
        context.seen.pop();
    }
    if (context.circular?.has(value)) {
        const reference = `<ref *${context.circular.get(value)}>`;
        if (base === '') braces[0] = `${reference} ${braces[0]}`;
        else base = `${reference} ${base}`;
    }
    if (context.sorted) {
        const sort = typeof context.sorted === 'function' ? context.sorted : undefined;
        if (!indexed) output.sort(sort);
    }
    const text = reduce(context, output, base, braces, indexed, depth, value);
    context.budget += text.length;
    if (context.budget > 2 ** 27) context.depth = -1;
    return text;
}

/** Everything but arrays and collections: a finished text, or its parts. */
function formatSpecial(context, value, kind, name, tag, depth, typed) {
    let keys = keysOf(context, value);
    const parts = (base, braces = ['{', '}'], entries = () => []) =>
        keys.length === 0 && base !== '' ? base : { keys, base, braces, entries };
    if (typeof value === 'function') {
        return parts(functionBase(value, kind, name, tag));
    }
    switch (kind) {
        case 'Error':
            return parts(
                formatError(context, value, keys, (left) => {
                    keys = left;
                }),
            );
        case 'RegExp':
            return parts(RegExp.prototype.toString.call(value));
        case 'Date': {
            const time = Date.prototype.getTime.call(value);
            const text = Number.isNaN(time) ? 'Invalid Date' : Date.prototype.toISOString.call(value);
            return parts(name === 'Date' ? text : `${prefixOf(name, tag, 'Date')}${text}`);
        }
        case 'Promise': {
            const [state, result] = native.promiseParts(value);
            const entries = () =>
                state === 'pending'
                    ? ['<pending>']
                    : indented(context, () => [
                          (state === 'rejected' ? '<rejected> ' : '') + format(context, result, depth + 1),
                      ]);
            return { keys, base: '', braces: [`${prefixOf(name, tag, 'Promise')}{`, '}'], entries };
        }
        case 'WeakSet':
        case 'WeakMap':
            return {
                keys,
                base: '',
                braces: [`${prefixOf(name, '', kind)}{`, '}'],
                entries: () => ['<items unknown>'],
            };
        case 'WeakRef':
            return {
                keys,
                base: '',
                braces: ['WeakRef {', '}'],
                entries: () => indented(context, () => [format(context, value.deref(), depth + 1)]),
            };
        case 'ArrayBuffer':
        case 'SharedArrayBuffer':
            return {
                keys,
                base: '',
                braces: [`${prefixOf(name, tag, kind)}{`, '}'],
                entries: () => arrayBuffer(context, value),
            };
        case 'DataView':
            return {
                keys,
                base: '',
                braces: ['DataView {', '}'],
                entries: () =>
                    ['byteLength', 'byteOffset', 'buffer'].map(
                        (key) => `${key}: ${indented(context, () => format(context, value[key], depth + 1))}`,
                    ),
            };
        case 'Number':
        case 'String':
        case 'Boolean':
        case 'BigInt':
        case 'Symbol': {
            if (kind === 'String') keys = keys.filter((key) => typeof key === 'symbol' || !/^\d+$/.test(key));
            const primitive = Object(value).valueOf();
            const inner =
                kind === 'Symbol'
                    ? formatSymbol(primitive)
                    : formatPrimitive({ ...context, maxStringLength: Infinity }, primitive);
            const shown = name === null ? `${kind} (null prototype)` : name === kind ? kind : `${kind} (${name})`;
            return parts(`[${shown}: ${inner}]`);
        }
        case 'Arguments':
            return { keys, base: '', braces: ['[Arguments] {', '}'], entries: () => [] };
        case 'Generator':
        case 'AsyncGenerator':
            return { keys, base: '', braces: [`Object [${kind}] {`, '}'], entries: () => [] };
        case 'Module':
        case 'module':
            return { keys, base: '', braces: ['[Module: null prototype] {', '}'], entries: () => [] };
        default: {
            const prefix = name === 'Object' && tag === '' ? '' : prefixOf(name, tag, 'Object');
            if (keys.length === 0) return `${prefix}{}`;
            return { keys, base: '', braces: [`${prefix}{`, '}'], entries: () => [] };
        }
    }
}

function functionBase(value, kind, name, tag) {
    const text = Function.prototype.toString.call(value);
    if (text.startsWith('class') && text.endsWith('}')) {
        const parent = getPrototypeOf(value);
        const extended =
            parent !== null && parent.name
                ? ` extends ${parent.name}`
                : parent === null
                  ? ' extends [null prototype]'
                  : '';
        return `[class ${value.name === '' ? '(anonymous)' : value.name}${extended}]`;
    }
    const type = /^(?:Async)?(?:Generator)?Function$/.test(name ?? '') ? name : 'Function';
    const shown =
        hasOwn(value, 'name') && typeof value.name === 'string' && value.name !== ''
            ? `: ${value.name}`
            : ' (anonymous)';
    return `[${type}${name === null ? ' (null prototype)' : ''}${shown}]${tag !== '' && tag !== type ? ` [${tag}]` : ''}`;
}

/** An error's stack in V8's form: the name and message first, then the frames that are not of the guest's own library. */
export function stackOf(error) {
    let name = error.name,
        message = error.message;
    name = typeof name === 'string' ? name : 'Error';
    message = message === undefined ? '' : typeof message === 'string' ? message : String(message);
    const head = message === '' ? name : name === '' ? message : `${name}: ${message}`;
    const frames = framesOf(error);
    return frames.length > 0 ? `${head}\n${frames.join('\n')}` : head;
}

export function framesOf(error) {
    const stack = error.stack;
    if (typeof stack !== 'string') return [];
    return stack
        .split('\n')
        .filter((line) => /^\s+at /.test(line) && !/[( ](?:sandpool|node):|\(native\)$/.test(line))
        .map((line) => line.replace(' <eval> (', ' ').replace(/^(\s+at <cell.*)\)$/, '$1'));
}

function formatError(context, error, keys, setKeys) {
    const hidden = ['name', 'message', 'stack'].filter((key) => keys.includes(key) && typeof error[key] === 'string');
    let left = keys.filter((key) => !hidden.includes(key));
    let stack = stackOf(error);
    const className = constructorName(error);
    if (
        className !== null &&
        typeof error.name === 'string' &&
        !className.includes(error.name) &&
        error.name === 'Error'
    ) {
        stack = stack.replace(/^Error/, className);
    }
    if (hasOwn(error, 'cause') && !left.includes('cause')) left = [...left, 'cause'];
    if (Array.isArray(error.errors) && hasOwn(error, 'errors') && !left.includes('errors')) left = [...left, 'errors'];
    setKeys(left);
    const at = stack.indexOf('\n    at');
    if (at === -1) stack = `[${stack}]`;
    return context.indentation === 0 ? stack : stack.replaceAll('\n', `\n${' '.repeat(context.indentation)}`);
}

function arrayBuffer(context, buffer) {
    let bytes;
    try {
        bytes = new Uint8Array(buffer);
    } catch {
        return ['(detached)'];
    }
    const most = Math.min(Math.max(0, context.maxArrayLength), 50);
    let text = Array.from(bytes.subarray(0, most), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const left = bytes.length - most;
    if (left > 0) text += ` ... ${left} more byte${left > 1 ? 's' : ''}`;
    return [`[Uint8Contents]: <${text}>`, `byteLength: ${bytes.length}`];
}

function indented(context, action) {
    context.indentation += 2;
    try {
        return action();
    } finally {
        context.indentation -= 2;
    }
}

function more(count) {
    return `... ${count} more item${count > 1 ? 's' : ''}`;
}

function cut(context, items, each) {
    const most = Math.min(Math.max(0, context.maxArrayLength), items.length);
    const output = [];
    for (let i = 0; i < most; i++) output.push(each(items[i]));
    if (items.length > most) output.push(more(items.length - most));
    return output;
}

function formatArray(context, value, depth) {
    const most = Math.min(Math.max(0, context.maxArrayLength), value.length);
    const output = [];
    let index = 0;
    while (index < value.length && output.length < most) {
        if (!hasOwn(value, index)) {
            let holes = 1;
            while (index + holes < value.length && !hasOwn(value, index + holes)) holes++;
            output.push(`<${holes} empty item${holes > 1 ? 's' : ''}>`);
            index += holes;
        } else {
            output.push(formatProperty(context, value, depth, `${index}`, true, true));
            index++;
        }
    }
    if (index < value.length) output.push(more(value.length - index));
    return output;
}

function formatTyped(context, value) {
    const most = Math.min(Math.max(0, context.maxArrayLength), value.length);
    const output = [];
    for (let i = 0; i < most; i++) {
        const item = value[i];
        output.push(typeof item === 'bigint' ? `${item}n` : formatNumber(item, context.numericSeparator));
    }
    if (value.length > most) output.push(more(value.length - most));
    return output;
}

function formatProperty(context, value, depth, key, indexed, isItem = false) {
    const descriptor = getOwnPropertyDescriptor(value, key) ?? { value: value[key], enumerable: true };
    let text;
    if (descriptor.value !== undefined || hasOwn(descriptor, 'value')) {
        const step = context.compact !== true || isItem || indexed ? 2 : 3;
        context.indentation += step;
        text = format(context, descriptor.value, depth + 1);
        if (step === 3 && context.breakLength < text.length) text = `\n${' '.repeat(context.indentation)}${text}`;
        context.indentation -= step;
    } else if (descriptor.get !== undefined) {
        text = descriptor.set !== undefined ? '[Getter/Setter]' : '[Getter]';
        if (context.getters) {
            try {
                const got = descriptor.get.call(value);
                const label = text.slice(0, -1);
                context.indentation += 2;
                text =
                    got === null || typeof got !== 'object'
                        ? `${label}: ${formatPrimitive(context, got)}]`
                        : `${text} ${format(context, got, depth + 1)}`;
                context.indentation -= 2;
            } catch (error) {
                text = `${text.slice(0, -1)}: <Inspection threw (${error.message})>]`;
            }
        }
    } else {
        text = descriptor.set !== undefined ? '[Setter]' : 'undefined';
    }
    if (isItem) return text;
    let label;
    if (typeof key === 'symbol') label = `[${formatSymbol(key)}]`;
    else if (key === '__proto__') label = "['__proto__']";
    else if (descriptor.enumerable === false) label = `[${key}]`;
    else label = IDENTIFIER.test(key) ? key : quote(key);
    return `${label}: ${text}`;
}

/** Entries joined to one line, to several columns, or to a line each. */
function reduce(context, output, base, braces, indexed, depth, value) {
    if (output.length === 0 && base === '') return braces.join('');
    if (context.compact !== true) {
        if (typeof context.compact === 'number' && context.compact >= 1) {
            const count = output.length;
            if (indexed && count > 6) output = group(context, output, value);
            if (context.currentDepth - depth < context.compact && count === output.length) {
                const start = output.length + context.indentation + braces[0].length + base.length + 10;
                if (fits(context, output, start, base)) {
                    const joined = output.join(', ');
                    if (!joined.includes('\n')) {
                        return `${base ? `${base} ` : ''}${braces[0]} ${joined} ${braces[1]}`;
                    }
                }
            }
        }
        const indentation = `\n${' '.repeat(context.indentation)}`;
        const lines = output.join(`,${indentation}  `);
        return `${base ? `${base} ` : ''}${braces[0]}${indentation}  ${lines}${indentation}${braces[1]}`;
    }
    if (fits(context, output, 0, base)) {
        return `${braces[0]}${base ? ` ${base}` : ''} ${output.join(', ')} ${braces[1]}`;
    }
    const indentation = `\n${' '.repeat(context.indentation)}`;
    const start = base === '' && braces[0].length === 1 ? ' ' : `${base ? ` ${base}` : ''}\n${indentation}  `;
    return `${braces[0]}${start}${output.join(`,${indentation}  `)} ${braces[1]}`;
}

function fits(context, output, start, base) {
    let total = output.length + start;
    if (total + output.length > context.breakLength) return false;
    for (const entry of output) {
        total += entry.length;
        if (total > context.breakLength) return false;
    }
    return base === '' || !base.includes('\n');
}

/** Many short items of an array in columns. */
function group(context, output, value) {
    let total = 0,
        longest = 0;
    const count = context.maxArrayLength < output.length ? output.length - 1 : output.length;
    const lengths = new Array(count);
    for (let i = 0; i < count; i++) {
        lengths[i] = output[i].length;
        total += lengths[i] + 2;
        if (longest < lengths[i]) longest = lengths[i];
    }
    const width = longest + 2;
    if (width * 3 + context.indentation < context.breakLength && (total / width > 5 || longest <= 6)) {
        const bias = Math.sqrt(width - total / output.length);
        const biased = Math.max(width - 3 - bias, 1);
        const columns = Math.min(
            Math.round(Math.sqrt(2.5 * biased * count) / biased),
            Math.floor((context.breakLength - context.indentation) / width),
            context.compact * 4,
            15,
        );
        if (columns <= 1) return output;
        const widths = [];
        for (let i = 0; i < columns; i++) {
            let widest = 0;
            for (let j = i; j < count; j += columns) {
                if (lengths[j] > widest) widest = lengths[j];
            }
            widths.push(widest + 2);
        }
        const numeric =
            value === undefined || output.every((_, i) => typeof value[i] === 'number' || typeof value[i] === 'bigint');
        const lines = [];
        for (let i = 0; i < count; i += columns) {
            const end = Math.min(i + columns, count);
            let line = '';
            let j = i;
            for (; j < end - 1; j++) {
                const cell = `${output[j]}, `;
                line += numeric ? cell.padStart(widths[j - i]) : cell.padEnd(widths[j - i]);
            }
            line += numeric ? output[j].padStart(widths[j - i] - 2) : output[j];
            lines.push(line);
        }
        if (count < output.length) lines.push(output[count]);
        return lines;
    }
    return output;
}

/** console.log's text: %-directives of a first text, the rest joined by spaces. */
export function formatWithOptions(options, ...values) {
    const first = values[0];
    let text = '',
        joined = '',
        index = 0;
    if (typeof first === 'string') {
        if (values.length === 1) return first;
        let from = 0;
        for (let i = 0; i < first.length - 1; i++) {
            if (first[i] !== '%') continue;
            const next = first[++i];
            if (next === '%') {
                text += first.slice(from, i);
                from = i + 1;
                continue;
            }
            if (index + 1 === values.length) continue;
            const shown = directive(options, next, values[index + 1]);
            if (shown === undefined) continue;
            text += first.slice(from, i - 1) + shown;
            from = i + 1;
            index++;
        }
        if (from !== 0) {
            index++;
            joined = ' ';
            if (from < first.length) text += first.slice(from);
        }
    }
    for (; index < values.length; index++) {
        const value = values[index];
        text +=
            joined + (typeof value === 'string' ? value : inspect(value, { ...options, compact: 3, colors: false }));
        joined = ' ';
    }
    return text;
}

function directive(options, letter, value) {
    switch (letter) {
        case 's':
            if (typeof value === 'number') return formatNumber(value);
            if (typeof value === 'bigint') return `${value}n`;
            if (typeof value !== 'object' || value === null || hasUserToString(value)) return String(value);
            return inspect(value, { ...options, depth: 0, colors: false, compact: 3 });
        case 'j':
            try {
                return JSON.stringify(value);
            } catch (error) {
                if (/circular/.test(error.message)) return '[Circular]';
                throw error;
            }
        case 'd':
            if (typeof value === 'bigint') return `${value}n`;
            return typeof value === 'symbol' ? 'NaN' : formatNumber(Number(value));
        case 'i':
            if (typeof value === 'bigint') return `${value}n`;
            return typeof value === 'symbol' ? 'NaN' : formatNumber(parseInt(value, 10));
        case 'f':
            return typeof value === 'symbol' ? 'NaN' : formatNumber(parseFloat(value));
        case 'o':
            return inspect(value, { ...options, showHidden: true, showProxy: true, depth: 4 });
        case 'O':
            return inspect(value, options);
        case 'c':
            return '';
        default:
            return undefined;
    }
}

function hasUserToString(value) {
    for (let at = value; at !== null && at !== objectPrototype; at = getPrototypeOf(at)) {
        if (hasOwn(at, 'toString'))
            return (
                !/^(?:Array|Error|Date|RegExp|Function)/.test(constructorName(value) ?? '') ||
                native.classOf(value) === 'Error' ||
                native.classOf(value) === 'Date'
            );
    }
    return false;
}

export function formatText(...values) {
    return formatWithOptions(undefined, ...values);
}

// console: log, info, debug, dir, table to stdout; warn, error, trace to stderr.
import native, { STDERR, STDOUT } from 'sandpool:native';
import { formatWithOptions, inspect } from 'sandpool:inspect';

let indentation = '';
const counts = new Map(),
    timers = new Map();

function write(kind, text) {
    if (indentation !== '') text = indentation + text.replaceAll('\n', `\n${indentation}`);
    native.print(kind, `${text}\n`);
}

const out = (...values) => write(STDOUT, formatWithOptions(undefined, ...values));
const err = (...values) => write(STDERR, formatWithOptions(undefined, ...values));

function elapsed(label) {
    const milliseconds = native.now() - timers.get(label);
    return milliseconds < 1000 ? `${Number(milliseconds.toFixed(3))}ms` : `${(milliseconds / 1000).toFixed(3)}s`;
}

function hasTimer(label) {
    if (!timers.has(label)) err(`Warning: No such label '${label}' for console.timeEnd()`);
    return timers.has(label);
}

const methods = {
    log: out,
    info: out,
    debug: out,
    warn: err,
    error: err,
    dir(value, options) {
        write(STDOUT, inspect(value, { customInspect: false, ...options }));
    },
    dirxml: out,
    trace(...values) {
        const frames = new Error().stack
            .split('\n')
            .filter((line) => line.includes('at ') && !/[( ](?:sandpool|node):/.test(line));
        write(
            STDERR,
            ['Trace' + (values.length > 0 ? `: ${formatWithOptions(undefined, ...values)}` : ''), ...frames]
                .join('\n')
                .trimEnd(),
        );
    },
    assert(condition, ...values) {
        if (condition) return;
        if (typeof values[0] === 'string') values[0] = `Assertion failed: ${values[0]}`;
        else values.unshift('Assertion failed');
        err(...values);
    },
    table(data, columns) {
        if (data === null || typeof data !== 'object') out(data);
        else write(STDOUT, tabulate(data, columns));
    },
    group(...labels) {
        if (labels.length > 0) out(...labels);
        indentation += '  ';
    },
    groupEnd() {
        indentation = indentation.slice(2);
    },
    count(label = 'default') {
        counts.set(`${label}`, (counts.get(`${label}`) ?? 0) + 1);
        out(`${label}: ${counts.get(`${label}`)}`);
    },
    countReset(label = 'default') {
        counts.delete(`${label}`);
    },
    time(label = 'default') {
        timers.set(`${label}`, native.now());
    },
    timeLog(label = 'default', ...values) {
        if (hasTimer(`${label}`)) out(`${label}: ${elapsed(`${label}`)}`, ...values);
    },
    timeEnd(label = 'default') {
        if (!hasTimer(`${label}`)) return;
        out(`${label}: ${elapsed(`${label}`)}`);
        timers.delete(`${label}`);
    },
    clear() {},
};
methods.groupCollapsed = methods.group;

/** The width of a text in a terminal: wide characters take two columns. */
function widthOf(text) {
    let width = 0;
    for (const character of text) {
        const code = character.codePointAt(0);
        const wide =
            (code >= 0x1100 && code <= 0x115f) ||
            (code >= 0x2e80 && code <= 0xa4cf) ||
            (code >= 0xac00 && code <= 0xd7a3) ||
            (code >= 0xf900 && code <= 0xfaff) ||
            (code >= 0xfe30 && code <= 0xfe6f) ||
            (code >= 0xff00 && code <= 0xff60) ||
            (code >= 0x1f300 && code <= 0x1faff) ||
            code >= 0x20000;
        width += code < 0x300 || code > 0x36f ? (wide ? 2 : 1) : 0;
    }
    return width;
}

function tabulate(data, wanted) {
    const cell = (value) =>
        inspect(value, {
            depth: value !== null && typeof value === 'object' && Object.keys(value).length > 2 ? -1 : 0,
            maxArrayLength: 3,
            breakLength: Infinity,
        });
    const isMap = data instanceof Map,
        isSet = data instanceof Set;
    const rows = isMap
        ? [...data].map(([key, value], index) => [`${index}`, value, key])
        : isSet
          ? [...data].map((value, index) => [`${index}`, value])
          : Object.keys(data).map((key) => [key, data[key]]);
    const columns = [],
        table = [];
    let hasValues = false;
    for (const [label, value, key] of rows) {
        const row = { label, key: isMap ? cell(key) : undefined, cells: {}, value: '' };
        if (value !== null && typeof value === 'object' && !isMap) {
            for (const column of wanted ?? Object.keys(value)) {
                if (!columns.includes(column)) columns.push(column);
                if (Object.hasOwn(value, column)) row.cells[column] = cell(value[column]);
            }
        } else {
            row.value = cell(value);
            hasValues = true;
        }
        table.push(row);
    }
    const header = [
        isMap || isSet ? '(iteration index)' : '(index)',
        ...(isMap ? ['Key'] : []),
        ...columns,
        ...(hasValues ? ['Values'] : []),
    ];
    const body = table.map((row) => [
        row.label,
        ...(isMap ? [row.key] : []),
        ...columns.map((column) => row.cells[column] ?? ''),
        ...(hasValues ? [row.value] : []),
    ]);
    const widths = header.map(
        (title, index) => Math.max(widthOf(title), ...body.map((row) => widthOf(row[index]))) + 2,
    );
    const line = (cells) =>
        `│${cells
            .map((text, index) => {
                const space = widths[index] - widthOf(text),
                    left = Math.floor(space / 2);
                return ' '.repeat(left) + text + ' '.repeat(space - left);
            })
            .join('│')}│`;
    const rule = (left, middle, right) => left + widths.map((width) => '─'.repeat(width)).join(middle) + right;
    const top = [rule('┌', '┬', '┐'), line(header), rule('├', '┼', '┤')];
    return [...top, ...body.map(line), rule('└', '┴', '┘')].join('\n');
}

export { methods };

/** Between cells: an error may have left groups open. */
export function resetIndentation() {
    indentation = '';
}

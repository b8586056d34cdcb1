// node:path, of POSIX.
function normalizeParts(text, isAbsolute) {
    const parts = [];
    for (const part of text.split('/')) {
        if (part === '' || part === '.') continue;
        if (part !== '..') parts.push(part);
        else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
        else if (!isAbsolute) parts.push('..');
    }
    return parts.join('/');
}

function check(value, name) {
    if (typeof value === 'string') return;
    const error = new TypeError(
        `The "${name}" argument must be of type string. Received ${value === null ? 'null' : typeof value}`,
    );
    error.code = 'ERR_INVALID_ARG_TYPE';
    throw error;
}

const path = {
    sep: '/',
    delimiter: ':',
    normalize(text) {
        check(text, 'path');
        const isAbsolute = text.startsWith('/');
        let normal = normalizeParts(text, isAbsolute);
        if (normal === '' && !isAbsolute) normal = '.';
        if (normal !== '' && text.endsWith('/') && text.length > 1) normal += '/';
        return isAbsolute ? `/${normal}` : normal;
    },
    join(...parts) {
        parts.forEach((part) => check(part, 'path'));
        const joined = parts.filter((part) => part !== '').join('/');
        return joined === '' ? '.' : path.normalize(joined);
    },
    resolve(...parts) {
        let resolved = '';
        for (let i = parts.length - 1; i >= -1 && !resolved.startsWith('/'); i--) {
            const part = i >= 0 ? parts[i] : globalThis.process.cwd();
            check(part, `paths[${i}]`);
            if (part !== '') resolved = resolved === '' ? part : `${part}/${resolved}`;
        }
        return `/${normalizeParts(resolved, true)}`;
    },
    isAbsolute: (text) => text.startsWith('/'),
    dirname(text) {
        check(text, 'path');
        const trimmed = text.replace(/\/+$/, '');
        const at = trimmed.lastIndexOf('/');
        if (at === -1) return text.startsWith('/') ? '/' : '.';
        return trimmed.slice(0, at).replace(/\/+$/, '') || '/';
    },
    basename(text, suffix) {
        check(text, 'path');
        const name = text.replace(/\/+$/, '').split('/').at(-1);
        return suffix !== undefined && name.endsWith(suffix) && name !== suffix ? name.slice(0, -suffix.length) : name;
    },
    extname(text) {
        const name = path.basename(text);
        const at = name.lastIndexOf('.');
        return at <= 0 ? '' : name.slice(at);
    },
    relative(from, to) {
        const source = path.resolve(from).split('/').filter(Boolean),
            target = path.resolve(to).split('/').filter(Boolean);
        let same = 0;
        while (same < source.length && same < target.length && source[same] === target[same]) same++;
        return [...source.slice(same).fill('..'), ...target.slice(same)].join('/');
    },
    parse(text) {
        check(text, 'path');
        const base = path.basename(text),
            ext = path.extname(text);
        const dir = path.dirname(text);
        return {
            root: text.startsWith('/') ? '/' : '',
            dir: dir === '.' && !text.startsWith('.') ? '' : dir,
            base,
            ext,
            name: base.slice(0, base.length - ext.length),
        };
    },
    format({ dir, root = '', base, name = '', ext = '' }) {
        const last = base ?? `${name}${ext && !ext.startsWith('.') ? '.' : ''}${ext}`;
        return dir ? (dir === root ? `${dir}${last}` : `${dir}/${last}`) : `${root}${last}`;
    },
    toNamespacedPath: (text) => text,
};
path.posix = path;

export default path;

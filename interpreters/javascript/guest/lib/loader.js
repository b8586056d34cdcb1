// Modules: what `import` and `require` find. Built-ins by name; files of the session; node_modules beside them.
import native from 'sandpool:native';
import * as pathModule from 'sandpool:node/path';
import builtins from 'sandpool:builtins';

const path = pathModule.default;
const utf8 = (bytes) => native.decode(bytes, false);
/** Each file as it was when it was loaded last: a file that has changed is loaded again, which Node would not do. */
const versions = new Map();

function kindOf(file) {
    try {
        return (native.stat(file, true)[0] & 0o170000) === 0o040000 ? 'folder' : 'file';
    } catch {
        return undefined;
    }
}

function withExtension(file) {
    if (kindOf(file) === 'file') return file;
    for (const extension of ['.js', '.mjs', '.cjs', '.json']) {
        if (kindOf(file + extension) === 'file') return file + extension;
    }
    if (kindOf(file) === 'folder') {
        const main = packageMain(file);
        if (main !== undefined) return main;
        for (const name of ['index.js', 'index.mjs', 'index.cjs', 'index.json']) {
            if (kindOf(path.join(file, name)) === 'file') return path.join(file, name);
        }
    }
    return undefined;
}

function packageMain(folder) {
    const file = path.join(folder, 'package.json');
    if (kindOf(file) !== 'file') return undefined;
    const about = JSON.parse(utf8(native.readFile(file)));
    let main = about.exports?.['.'] ?? about.exports ?? about.main;
    while (main !== null && typeof main === 'object') main = main.import ?? main.node ?? main.default ?? main.require;
    return typeof main === 'string' ? withExtension(path.join(folder, main)) : undefined;
}

function fail(message, code) {
    const error = new Error(message);
    error.code = code;
    throw error;
}

/** The file that a specifier means, for a file in `folder`. */
function find(specifier, folder) {
    if (specifier.startsWith('file://')) specifier = decodeURIComponent(specifier.slice(7));
    if (/^\.{0,2}(?:\/|$)/.test(specifier)) {
        const found = withExtension(path.resolve(folder, specifier));
        if (found !== undefined) return found;
        fail(`Cannot find module '${path.resolve(folder, specifier)}'`, 'MODULE_NOT_FOUND');
    }
    for (let at = folder; ; at = path.dirname(at)) {
        const found = withExtension(path.join(at, 'node_modules', specifier));
        if (found !== undefined) return found;
        if (at === '/') break;
    }
    if (/^(?:https?|npm|jsr):/.test(specifier)) {
        fail(`Cannot import '${specifier}': this pool has no network`, 'ERR_UNSUPPORTED_ESM_URL_SCHEME');
    }
    fail(
        `Cannot find module '${specifier}': there are the built-in modules (${builtins.names.join(', ')}) and the` +
            " session's files (./name.js in /mnt/data); packages cannot be installed",
        'MODULE_NOT_FOUND',
    );
}

function builtinOf(specifier) {
    const name = specifier.startsWith('node:') ? specifier.slice(5) : specifier;
    if (builtins.modules.has(name)) return name;
    if (specifier.startsWith('node:') || builtins.missing.has(name)) {
        const why = builtins.missing.get(name);
        fail(`Module '${name}' does not exist here${why ? `: ${why}` : ''}`, 'ERR_UNKNOWN_BUILTIN_MODULE');
    }
    return undefined;
}

/** The folder that a script's or module's relative specifiers start from. */
function folderOf(base) {
    return base.startsWith('/') ? path.dirname(base.replace(/\?\d+$/, '')) : native.cwd();
}

/** The name of a module for the engine; `?1` and so on tell versions of a file apart. */
export function resolve(base, specifier) {
    const name = builtinOf(specifier);
    if (name !== undefined) return `node:${name}`;
    const file = find(specifier, folderOf(base));
    const about = native.stat(file, true);
    const stamp = `${about[1]} ${about[3]} ${about[5]}`;
    const known = versions.get(file);
    if (known === undefined) versions.set(file, { stamp, number: 0 });
    else if (known.stamp !== stamp) versions.set(file, { stamp, number: known.number + 1 });
    const { number } = versions.get(file);
    return number === 0 ? file : `${file}?${number}`;
}

/** A file that says neither by its name is what it looks like. */
function isModule(file, source) {
    if (file.endsWith('.mjs') || file.endsWith('.cjs')) return file.endsWith('.mjs');
    return /^\s*(?:import\s*["'{*\w$]|export\b)/m.test(source) || !/\b(?:require|module|exports)\b/.test(source);
}

/** The text of an ES module, or an object with the exports of anything else. */
export function load(name) {
    const file = name.replace(/\?\d+$/, '');
    if (file.startsWith('node:'))
        return { default: builtins.modules.get(file.slice(5)), ...builtins.modules.get(file.slice(5)) };
    if (file.endsWith('.json')) return { default: JSON.parse(utf8(native.readFile(file))) };
    const source = utf8(native.readFile(file));
    if (isModule(file, source)) return source;
    const exported = requireFile(file);
    const named = exported !== null && typeof exported === 'object' && !Array.isArray(exported) ? exported : {};
    return { ...named, default: exported };
}

/** `import.meta`. */
load.describe = (meta, name) => {
    const file = name.replace(/\?\d+$/, '');
    meta.url = `file://${encodeURI(file)}`;
    meta.filename = file;
    meta.dirname = path.dirname(file);
    meta.main = false;
    meta.resolve = (specifier) => {
        const found = resolve(file, specifier).replace(/\?\d+$/, '');
        return found.startsWith('/') ? `file://${encodeURI(found)}` : found;
    };
};

const cache = Object.create(null);

function requireFile(file) {
    const about = native.stat(file, true);
    const stamp = `${about[1]} ${about[3]} ${about[5]}`;
    const known = cache[file];
    if (known !== undefined && known.stamp === stamp) return known.exports;
    const module = {
        exports: {},
        id: file,
        filename: file,
        path: path.dirname(file),
        loaded: false,
        children: [],
        paths: [],
    };
    Object.defineProperty(module, 'stamp', { value: stamp });
    cache[file] = module;
    try {
        const source = utf8(native.readFile(file));
        if (file.endsWith('.json')) {
            module.exports = JSON.parse(source);
        } else {
            if (file.endsWith('.mjs')) {
                fail(`${file} is an ES module: use import, or await import('${file}')`, 'ERR_REQUIRE_ESM');
            }
            const text = source.startsWith('#!') ? `//${source}` : source;
            const wrapper = native.runScript(
                `(function (exports, require, module, __filename, __dirname) {${text}\n})`,
                file,
            );
            module.require = requireFrom(path.dirname(file));
            wrapper.call(module.exports, module.exports, module.require, module, file, module.path);
        }
        module.loaded = true;
    } catch (error) {
        delete cache[file];
        throw error;
    }
    return module.exports;
}

/** `require` for files in a folder. */
export function requireFrom(folder) {
    const require = (specifier) => {
        if (typeof specifier !== 'string') {
            throw new TypeError(`The "id" argument must be of type string. Received ${typeof specifier}`);
        }
        const name = builtinOf(specifier);
        return name !== undefined ? builtins.modules.get(name) : requireFile(find(specifier, folder ?? native.cwd()));
    };
    require.resolve = (specifier) => builtinOf(specifier) ?? find(specifier, folder ?? native.cwd());
    require.cache = cache;
    require.main = undefined;
    return require;
}

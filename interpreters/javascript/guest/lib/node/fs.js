// node:fs: the synchronous functions over ../native; promises and callbacks over those.
import native from 'sandpool:native';
import path from 'sandpool:node/path';
import { Buffer } from 'sandpool:node/buffer';
import { bytesOf } from 'sandpool:encoding';

function pathOf(value) {
    if (typeof value === 'string') return value;
    if (value instanceof URL) return decodeURIComponent(value.pathname);
    if (ArrayBuffer.isView(value)) return native.decode(bytesOf(value), false);
    const error = new TypeError(
        'The "path" argument must be of type string or an instance of Buffer or URL.' +
            ` Received ${value === null ? 'null' : typeof value}`,
    );
    error.code = 'ERR_INVALID_ARG_TYPE';
    throw error;
}

const encodingOf = (options) => (typeof options === 'string' ? options : (options?.encoding ?? null));
const dataOf = (data, options) =>
    typeof data === 'string'
        ? Buffer.from(data, encodingOf(options) ?? 'utf8')
        : ArrayBuffer.isView(data) || data instanceof ArrayBuffer
          ? bytesOf(data)
          : refuse(data);

function refuse(data) {
    const error = new TypeError(
        'The "data" argument must be of type string or an instance of Buffer, TypedArray, or DataView.' +
            ` Received ${data === null ? 'null' : data === undefined ? 'undefined' : `type ${typeof data}`}`,
    );
    error.code = 'ERR_INVALID_ARG_TYPE';
    throw error;
}

function failure(code, number, text, syscall, file) {
    const error = new Error(`${code}: ${text}, ${syscall} '${file}'`);
    return Object.assign(error, { errno: -number, code, syscall, path: file });
}

class Stats {
    constructor([mode, size, atimeMs, mtimeMs, ctimeMs, ino, nlink, dev]) {
        const blocks = Math.ceil(size / 512);
        // WASI has no permissions: what is shown is what all may do.
        mode |= (mode & 0o170000) === 0o040000 ? 0o755 : 0o644;
        Object.assign(this, {
            dev,
            mode,
            nlink,
            uid: 1000,
            gid: 1000,
            rdev: 0,
            blksize: 4096,
            ino,
            size,
            blocks,
            atimeMs,
            mtimeMs,
            ctimeMs,
            birthtimeMs: ctimeMs,
            atime: new Date(atimeMs),
            mtime: new Date(mtimeMs),
            ctime: new Date(ctimeMs),
            birthtime: new Date(ctimeMs),
        });
    }

    isFile() {
        return (this.mode & 0o170000) === 0o100000;
    }

    isDirectory() {
        return (this.mode & 0o170000) === 0o040000;
    }

    isSymbolicLink() {
        return (this.mode & 0o170000) === 0o120000;
    }

    isFIFO() {
        return false;
    }

    isSocket() {
        return false;
    }

    isBlockDevice() {
        return false;
    }

    isCharacterDevice() {
        return (this.mode & 0o170000) === 0o020000;
    }
}

class Dirent {
    #kind;

    constructor(name, folder, kind) {
        this.name = name;
        this.parentPath = folder;
        this.path = folder;
        this.#kind = kind;
    }

    isFile() {
        return this.#kind === 'f';
    }

    isDirectory() {
        return this.#kind === 'd';
    }

    isSymbolicLink() {
        return this.#kind === 'l';
    }
}

function statOf(file, follow, options) {
    try {
        return new Stats(native.stat(pathOf(file), follow));
    } catch (error) {
        if (options?.throwIfNoEntry === false && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
            return undefined;
        throw error;
    }
}

const fs = {
    readFileSync(file, options) {
        const bytes = typeof file === 'number' ? readAll(file) : native.readFile(pathOf(file));
        const encoding = encodingOf(options);
        if (encoding === 'utf8' || encoding === 'utf-8') return native.decode(bytes, false);
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        return encoding === null || encoding === 'buffer' ? buffer : buffer.toString(encoding);
    },
    writeFileSync(file, data, options) {
        const bytes = dataOf(data, options);
        if (typeof file === 'number') fs.writeSync(file, bytes);
        else native.writeFile(pathOf(file), bytes, options?.flag ?? 'w');
    },
    appendFileSync(file, data, options) {
        native.writeFile(pathOf(file), dataOf(data, options), options?.flag ?? 'a');
    },
    existsSync(file) {
        try {
            return native.exists(pathOf(file));
        } catch {
            return false;
        }
    },
    accessSync(file) {
        native.stat(pathOf(file), true);
    },
    statSync: (file, options) => statOf(file, true, options),
    lstatSync: (file, options) => statOf(file, false, options),
    readdirSync(folder, options) {
        const top = pathOf(folder);
        const found = [];
        const walk = (at, prefix) => {
            const names = native.readdir(at);
            const entries = [];
            for (let i = 0; i < names.length; i += 2) entries.push([names[i], names[i + 1]]);
            entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
            for (const [name, kind] of entries) {
                found.push(options?.withFileTypes ? new Dirent(name, at, kind) : prefix + name);
                if (options?.recursive && kind === 'd') walk(path.join(at, name), `${prefix}${name}/`);
            }
        };
        walk(top, '');
        return found;
    },
    mkdirSync(folder, options) {
        folder = pathOf(folder);
        if (!(typeof options === 'object' && options?.recursive)) {
            native.mkdir(folder);
            return undefined;
        }
        let first;
        const parts = path.resolve(folder).split('/').slice(1);
        for (let i = 1; i <= parts.length; i++) {
            const at = `/${parts.slice(0, i).join('/')}`;
            const about = statOf(at, true, { throwIfNoEntry: false });
            if (about === undefined) {
                native.mkdir(at);
                first ??= at;
            } else if (!about.isDirectory()) {
                throw failure(
                    i === parts.length ? 'EEXIST' : 'ENOTDIR',
                    i === parts.length ? 17 : 20,
                    i === parts.length ? 'file already exists' : 'not a directory',
                    'mkdir',
                    folder,
                );
            }
        }
        return first;
    },
    mkdtempSync(prefix) {
        const folder = prefix + Math.random().toString(36).slice(2, 8).padEnd(6, '0');
        native.mkdir(folder);
        return folder;
    },
    unlinkSync: (file) => native.unlink(pathOf(file)),
    rmdirSync: (folder) => native.rmdir(pathOf(folder)),
    rmSync(file, { recursive = false, force = false } = {}) {
        file = pathOf(file);
        let about;
        try {
            about = statOf(file, false);
        } catch (error) {
            if (force && error.code === 'ENOENT') return;
            throw error;
        }
        if (!about.isDirectory()) {
            native.unlink(file);
            return;
        }
        if (!recursive) {
            const error = failure('ERR_FS_EISDIR', 21, 'Path is a directory', 'rm', file);
            error.message = `Path is a directory: rm returned EISDIR (is a directory) ${file}`;
            throw error;
        }
        for (const name of fs.readdirSync(file)) fs.rmSync(path.join(file, name), { recursive: true, force });
        native.rmdir(file);
    },
    renameSync: (from, to) => native.rename(pathOf(from), pathOf(to)),
    copyFileSync(from, to, mode = 0) {
        native.writeFile(pathOf(to), native.readFile(pathOf(from)), mode & 1 ? 'wx' : 'w');
    },
    cpSync(from, to, options = {}) {
        if (!statOf(from, true).isDirectory()) {
            fs.mkdirSync(path.dirname(to), { recursive: true });
            fs.copyFileSync(from, to);
            return;
        }
        if (!options.recursive)
            throw failure('ERR_FS_EISDIR', 21, 'Recursive option not enabled, cannot copy a directory', 'cp', from);
        fs.mkdirSync(to, { recursive: true });
        for (const name of fs.readdirSync(from)) fs.cpSync(path.join(from, name), path.join(to, name), options);
    },
    symlinkSync: (target, file) => native.symlink(pathOf(target), pathOf(file)),
    readlinkSync: (file) => native.readlink(pathOf(file)),
    realpathSync: (file) => native.realpath(pathOf(file)),
    truncateSync: (file, length = 0) => native.truncate(pathOf(file), length),
    utimesSync: (file, accessed, modified) => native.utimes(pathOf(file), seconds(accessed), seconds(modified)),
    chmodSync() {},
    openSync: (file, flags = 'r') => native.open(pathOf(file), `${flags}`),
    closeSync: (descriptor) => native.close(descriptor),
    fstatSync: (descriptor) => new Stats(native.fstat(descriptor)),
    readSync(descriptor, buffer, offset = 0, length = buffer.byteLength - offset, position = null) {
        if (typeof offset === 'object' && offset !== null) {
            ({ offset = 0, length = buffer.byteLength - offset, position = null } = offset);
        }
        return native.transfer(descriptor, bytesOf(buffer).subarray(offset, offset + length), position ?? -1, false);
    },
    writeSync(descriptor, data, offset = 0, length, position = null) {
        const bytes = dataOf(data);
        const part =
            typeof data === 'string'
                ? bytes
                : bytes.subarray(offset, length === undefined ? undefined : offset + length);
        return native.transfer(descriptor, part, position ?? -1, true);
    },
    fsyncSync() {},
    constants: { F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1, COPYFILE_EXCL: 1, O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2 },
    Stats,
    Dirent,
};

function readAll(descriptor) {
    const parts = [];
    for (;;) {
        const part = Buffer.alloc(65536);
        const count = native.transfer(descriptor, part, -1, false);
        if (count === 0) return Buffer.concat(parts);
        parts.push(part.subarray(0, count));
    }
}

function seconds(time) {
    return time instanceof Date ? time.getTime() / 1000 : Number(time);
}

// Files answer at once here, so the asynchronous forms are the synchronous ones with their answer told later.
const ASYNCHRONOUS = [
    'readFile',
    'writeFile',
    'appendFile',
    'access',
    'stat',
    'lstat',
    'readdir',
    'mkdir',
    'mkdtemp',
    'unlink',
    'rmdir',
    'rm',
    'rename',
    'copyFile',
    'cp',
    'symlink',
    'readlink',
    'realpath',
    'truncate',
    'utimes',
    'chmod',
];
fs.promises = { constants: fs.constants };
for (const name of ASYNCHRONOUS) {
    const run = fs[`${name}Sync`];
    const later = {
        async [name](...values) {
            return run(...values);
        },
    }[name];
    fs.promises[name] = later;
    fs[name] = (...values) => {
        const callback = values.pop();
        if (typeof callback !== 'function') {
            const error = new TypeError(`The "cb" argument must be of type function. Received ${typeof callback}`);
            error.code = 'ERR_INVALID_ARG_TYPE';
            throw error;
        }
        later(...values).then(
            (value) => setImmediate(callback, null, value),
            (error) => setImmediate(callback, error),
        );
    };
}
fs.exists = (file, callback) => setImmediate(callback, fs.existsSync(file));

export default fs;
export const { promises } = fs;

// node:process.
import native, { STDERR, STDOUT } from 'sandpool:native';
import { bytesOf } from 'sandpool:encoding';
import { EventEmitter } from 'sandpool:node/events';

const start = native.now();

function stream(kind, fd) {
    return Object.assign(new EventEmitter(), {
        fd,
        isTTY: false,
        writable: true,
        columns: 80,
        write(data, ...rest) {
            native.print(kind, typeof data === 'string' ? data : native.decode(bytesOf(data), false));
            const callback = rest.at(-1);
            if (typeof callback === 'function') setImmediate(callback);
            return true;
        },
        end(data) {
            if (data !== undefined) this.write(data);
        },
    });
}

/** Thrown by process.exit: ends the cell, not the session. */
export class Exit extends Error {
    constructor(code) {
        super(`process.exit was called with ${code}; the cell ends here, the session goes on`);
        this.code = code;
    }

    get name() {
        return 'SystemExit';
    }
}

const process = Object.assign(new EventEmitter(), {
    title: 'node',
    pid: 1,
    ppid: 0,
    argv: ['/usr/bin/node'],
    argv0: 'node',
    execArgv: [],
    execPath: '/usr/bin/node',
    exitCode: undefined,
    platform: 'linux',
    arch: 'wasm32',
    release: { name: 'node' },
    // What code asks for to see whether a feature is there: this is about what the engine has.
    version: 'v22.0.0',
    versions: { node: '22.0.0', quickjs: '0.16.2' },
    env: {
        HOME: '/home/user',
        USER: 'user',
        LANG: 'C.UTF-8',
        PATH: '/usr/bin',
        PWD: '/mnt/data',
        TMPDIR: '/tmp',
        TZ: 'UTC',
        NO_COLOR: '1',
    },
    stdout: stream(STDOUT, 1),
    stderr: stream(STDERR, 2),
    stdin: Object.assign(new EventEmitter(), { fd: 0, isTTY: false, async *[Symbol.asyncIterator]() {} }),
    cwd: () => native.cwd(),
    chdir: (folder) => native.chdir(`${folder}`),
    exit(code = process.exitCode ?? 0) {
        throw new Exit(code);
    },
    nextTick: (callback, ...values) => queueMicrotask(() => callback(...values)),
    hrtime: Object.assign(
        (before = [0, 0]) => {
            const now = native.now();
            const nanoseconds = Math.round((now % 1000) * 1e6) - before[1];
            const seconds = Math.floor(now / 1000) - before[0];
            return nanoseconds < 0 ? [seconds - 1, nanoseconds + 1e9] : [seconds, nanoseconds];
        },
        { bigint: () => BigInt(Math.round(native.now() * 1e6)) },
    ),
    uptime: () => (native.now() - start) / 1000,
    memoryUsage() {
        const used = native.heap();
        return { rss: used, heapTotal: used, heapUsed: used, external: 0, arrayBuffers: 0 };
    },
    cpuUsage: () => ({ user: Math.round(native.now() * 1000), system: 0 }),
    getuid: () => 1000,
    getgid: () => 1000,
    geteuid: () => 1000,
    getegid: () => 1000,
    umask: () => 0o022,
    emitWarning(warning) {
        native.print(STDERR, `Warning: ${warning?.message ?? warning}\n`);
    },
    abort: () => process.exit(134),
});
Object.defineProperty(process, Symbol.toStringTag, { value: 'process', configurable: true });

export default process;
